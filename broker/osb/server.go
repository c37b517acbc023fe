package osb

import (
	"crypto/tls"
	"log/slog"
	"net/http"
	"time"
)

// Limits of the server. The platform sends a request at once; who does not is
// not worth a connection. A handler that waits for the broker extends what is
// too short for it.
const (
	readHeaderTimeout = 10 * time.Second
	readTimeout       = 20 * time.Second
	writeTimeout      = 30 * time.Second // counts from the headers, so that a body that comes too late can be answered
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 64 << 10
)

// Server makes the server of a handler; the caller listens and shuts it down.
// certificate may be nil: then call Serve, otherwise ServeTLS with empty file
// names. Clients are asked for a certificate and need not have one; whose it is,
// is for the authenticator to decide.
func Server(h http.Handler, certificate *Certificate, logger *slog.Logger) *http.Server {
	s := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelWarn),
	}
	if certificate != nil {
		s.TLSConfig = &tls.Config{
			MinVersion: tls.VersionTLS12, GetCertificate: certificate.Get, ClientAuth: tls.RequestClientCert,
		}
	}
	return s
}
