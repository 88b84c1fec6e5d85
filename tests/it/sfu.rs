//! The SFU over real sockets.
