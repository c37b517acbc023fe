package osb

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
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
		ConnContext:       withConnection,
	}
	if certificate != nil {
		s.TLSConfig = &tls.Config{
			MinVersion: tls.VersionTLS12, GetCertificate: certificate.Get, ClientAuth: tls.RequestClientCert,
		}
	}
	return s
}

// checkEvery is the least time between two reads of a certificate's files.
const checkEvery = time.Second

// Certificate is a TLS certificate in two files. When they are replaced, the next handshake
// uses the new ones. It is safe for concurrent use.
type Certificate struct {
	certFile, keyFile string
	logger            *slog.Logger

	mu      sync.Mutex
	current *tls.Certificate
	checked time.Time
	fault   string // of the last check, which is logged once
}

// NewCertificate reads a certificate and its key, PEM each. It fails if they are unusable.
func NewCertificate(certFile, keyFile string, logger *slog.Logger) (*Certificate, error) {
	c := &Certificate{certFile: certFile, keyFile: keyFile, logger: logger}
	_, err := c.load()
	return c, err
}

// Get is for tls.Config.GetCertificate. If new files are unusable, such as a certificate
// whose key is not written yet, it logs that, and the old certificate stays.
func (c *Certificate) Get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.checked) < checkEvery {
		return c.current, nil
	}
	changed, err := c.load()
	switch {
	case changed:
		c.fault = ""
		c.logger.Info("certificate reloaded", "file", c.certFile)
	case err == nil:
		c.fault = ""
	case err.Error() != c.fault:
		c.fault = err.Error()
		c.logger.Error("certificate not reloaded, the old one stays", "file", c.certFile, "error", c.fault)
	}
	return c.current, nil
}

// load reads the files. An expired certificate does not replace a valid one.
func (c *Certificate) load() (changed bool, err error) {
	now := time.Now()
	c.checked = now
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return false, fmt.Errorf("certificate %s with key %s: %w", c.certFile, c.keyFile, err)
	}
	if c.current != nil && slices.EqualFunc(pair.Certificate, c.current.Certificate, bytes.Equal) {
		return false, nil
	}
	if expired := now.After(pair.Leaf.NotAfter); expired && c.current != nil && now.Before(c.current.Leaf.NotAfter) {
		return false, fmt.Errorf("certificate %s: expired at %s; the current certificate stays in use because it is still valid", c.certFile, pair.Leaf.NotAfter.UTC().Format(time.RFC3339))
	} else if expired {
		c.logger.Error("certificate has expired", "file", c.certFile, "not_after", pair.Leaf.NotAfter.UTC())
	}
	c.current = &pair
	return true, nil
}
