"""Every part of the system on one machine without Docker: real services on free ports under one state folder."""
