package osb

import (
	"crypto/tls"
	"log/slog"
	"net/http"
	"time"
)

// Limits of the server. Platforms send requests at once; slower clients are cut off. A
// handler that waits for the broker extends the deadlines.
const (
	readHeaderTimeout = 10 * time.Second
	readTimeout       = 20 * time.Second
	writeTimeout      = 30 * time.Second // from the headers on, so that a late body can be answered
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 64 << 10
)

// Server makes the server of a handler; the caller listens and shuts it down. If
// certificate is nil, call Serve, and otherwise ServeTLS with empty file names. Clients may
// send a certificate, which the authenticator verifies.
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
