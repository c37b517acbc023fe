package osb

import (
	"context"
	"net"
	"syscall"
)

type connectionKey struct{}

// withConnection is for http.Server.ConnContext.
func withConnection(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connectionKey{}, c)
}

// isClientGone reports whether the client of a request has disconnected. The end of the request's
// context says so, too, but only once a goroutine of the server has read the connection's end: a
// busy process that was suspended may first handle the request.
func isClientGone(ctx context.Context) bool {
	if ctx.Err() != nil {
		return true
	}
	c, _ := ctx.Value(connectionKey{}).(net.Conn)
	if t, ok := c.(interface{ NetConn() net.Conn }); ok { // TLS
		c = t.NetConn()
	}
	s, ok := c.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return true // it is closed
	}
	gone := false
	err = raw.Control(func(fd uintptr) { gone = !isEstablished(int(fd)) })
	return gone || err != nil
}
