"""Players' money: what enters and leaves their accounts, and the credit of what they win."""
