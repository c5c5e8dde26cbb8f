"""Pictures of networks, drawn from their code: what they hold, where it goes, and the SVG."""
