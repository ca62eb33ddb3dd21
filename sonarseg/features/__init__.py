"""Features of a survey by a frozen encoder, with local statistics: computed once, read ever after."""
