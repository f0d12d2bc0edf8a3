"""What firmware and iPXE would do with what they are offered: files chosen, asked for, and run."""
