package osb

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// checkEvery is the least time between two looks at a certificate's files.
const checkEvery = time.Second

// Certificate is a TLS certificate in two files. When they are replaced, the next handshake
// uses the new ones. It is safe for concurrent use.
type Certificate struct {
	certFile, keyFile string
	logger            *slog.Logger

	mu      sync.Mutex
	current *tls.Certificate
	seen    [2]stamp // of the files at the last attempt to read them
	checked time.Time
}

// stamp distinguishes a file's contents.
type stamp struct {
	modified time.Time
	size     int64
}

// NewCertificate reads a certificate and its key, PEM each. It fails if they are unusable.
func NewCertificate(certFile, keyFile string, logger *slog.Logger) (*Certificate, error) {
	c := &Certificate{certFile: certFile, keyFile: keyFile, logger: logger}
	seen, err := c.stamps()
	if err != nil {
		return nil, err
	}
	if err := c.load(); err != nil {
		return nil, err
	}
	c.seen, c.checked = seen, time.Now()
	return c, nil
}

// Get is for tls.Config.GetCertificate. If new files are unusable, such as a certificate
// whose key is not written yet, it logs that, and the old certificate stays until the files
// change again.
func (c *Certificate) Get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.checked) < checkEvery {
		return c.current, nil
	}
	c.checked = time.Now()
	seen, err := c.stamps()
	if err == nil && seen == c.seen {
		return c.current, nil
	}
	if err == nil {
		err = c.load()
	}
	if err == nil {
		c.logger.Info("certificate reloaded", "file", c.certFile)
	} else if seen != c.seen {
		c.logger.Error("certificate not reloaded, the old one stays", "file", c.certFile, "error", err.Error())
	}
	c.seen = seen
	return c.current, nil
}

func (c *Certificate) load() error {
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return fmt.Errorf("certificate %s with key %s: %w", c.certFile, c.keyFile, err)
	}
	now := time.Now()
	if expired := now.After(pair.Leaf.NotAfter); expired && c.current != nil && now.Before(c.current.Leaf.NotAfter) {
		return fmt.Errorf("certificate %s: expired at %s; the current certificate stays in use because it is still valid", c.certFile, pair.Leaf.NotAfter.UTC().Format(time.RFC3339))
	} else if expired {
		c.logger.Error("certificate has expired", "file", c.certFile, "not_after", pair.Leaf.NotAfter.UTC())
	}
	c.current = &pair
	return nil
}

func (c *Certificate) stamps() (seen [2]stamp, err error) {
	for i, file := range []string{c.certFile, c.keyFile} {
		info, err := os.Stat(file)
		if err != nil {
			return [2]stamp{}, err
		}
		seen[i] = stamp{info.ModTime(), info.Size()}
	}
	return seen, nil
}
