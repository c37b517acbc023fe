package osb

import "golang.org/x/sys/unix"

// isEstablished reports whether neither side of a TCP connection has closed it. It sees that
// before what the client sent earlier is read (tcp(7), TCP_INFO).
func isEstablished(fd int) bool {
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	return err != nil || info.State == unix.BPF_TCP_ESTABLISHED
}
