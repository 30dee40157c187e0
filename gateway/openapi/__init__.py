"""The OpenAPI document of everything that answers HTTP here: what each call takes and gives, and the pages of it."""
