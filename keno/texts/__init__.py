"""What people are told, in their languages: catalogs, and the changes that staff make to them at run time."""
