"""The bot: a pure desk, the journal beneath it and the shell that connects both to an exchange."""
