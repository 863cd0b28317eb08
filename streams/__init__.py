"""What flows: settings, topics, the codec, the Faust app and the guard that keeps the log in order."""
