"""What hard labels give away when an adversary may choose the questions."""
