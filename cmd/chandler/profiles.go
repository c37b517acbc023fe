package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"time"
)

// privateAddress is an address that nobody outside can reach: profiles hold what
// is in memory.
func (r *reader) privateAddress(name string) string {
	listen := r.text(name, "")
	if listen == "" {
		return ""
	}
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		r.fault("%s: must be an address and a port, such as 127.0.0.1:6060", name)
		return ""
	}
	ip, err := netip.ParseAddr(host)
	if host != "localhost" && (err != nil || !ip.IsLoopback() && !ip.IsPrivate()) {
		r.fault("%s: %s is no private address; profiles show what is in memory, so listen on 127.0.0.1 and come through a tunnel", name, listen)
	}
	return listen
}

// serveProfiles serves /debug/pprof/ at listen until ctx ends; nothing where
// listen is empty. 'go tool pprof' reads them.
func serveProfiles(ctx context.Context, listen string, log *slog.Logger) error {
	if listen == "" {
		return nil
	}
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", listen)
	if err != nil {
		return fmt.Errorf("CHANDLER_PROFILE_LISTEN: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn)}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	go func() { _ = server.Serve(listener) }()
	log.InfoContext(ctx, "serving profiles", "address", listener.Addr().String())
	return nil
}
