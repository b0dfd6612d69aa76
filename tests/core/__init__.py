"""The pure core against OTP's rules: incidents told step by step, a naive model, and planted mistakes."""
