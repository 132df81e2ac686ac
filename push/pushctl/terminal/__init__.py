"""What every command needs: options, questions, credentials, output and the words of errors."""
