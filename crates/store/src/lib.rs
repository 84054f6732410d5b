//! An embedded XenStore server over unix sockets.
