"""Pictures: annotations drawn on images, sheets of pictures, curves, videos."""
