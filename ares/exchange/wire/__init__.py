"""The wire of Binance USDS-M futures as pure typed values: what goes out, what comes in, what each refusal means.

Nothing here touches a socket or a clock, so the client and the local venue share every line of it.
"""
