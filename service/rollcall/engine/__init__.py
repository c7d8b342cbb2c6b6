"""One thread per device: rows and captures run here, and only plain numbers leave."""
