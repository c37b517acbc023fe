package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	// reloadEvery is how often the files of a certificate are checked, at most.
	reloadEvery = time.Second
	// expiresSoon is how long before its end a certificate is warned of, at the
	// start and once a day.
	expiresSoon = 30 * 24 * time.Hour
)

// certificate is a TLS certificate in two files, which may be replaced while the
// server runs. It is safe for concurrent use.
type certificate struct {
	use   string // in metrics and logs
	files tlsFiles
	log   *slog.Logger

	mu      sync.Mutex
	current *tls.Certificate
	seen    [2]fileVersion // of the files that were read last, good or not
	checked time.Time
}

type fileVersion struct {
	modified time.Time
	size     int64
}

// newCertificate is nil where there are no files.
func newCertificate(use string, files tlsFiles, log *slog.Logger) (*certificate, error) {
	if files.cert == "" {
		return nil, nil
	}
	c := &certificate{use: use, files: files, log: log, checked: time.Now()}
	var err error
	if c.seen, err = files.versions(); err != nil {
		return nil, err
	}
	return c, c.load()
}

func (f tlsFiles) versions() (v [2]fileVersion, err error) {
	for i, file := range []string{f.cert, f.key} {
		info, err := os.Stat(file)
		if err != nil {
			return v, err
		}
		v[i] = fileVersion{info.ModTime(), info.Size()}
	}
	return v, nil
}

// load keeps the current certificate where the files have none that is better.
func (c *certificate) load() error {
	pair, err := tls.LoadX509KeyPair(c.files.cert, c.files.key)
	if err != nil {
		return fmt.Errorf("certificate %s with key %s: %w", c.files.cert, c.files.key, err)
	}
	now, ends := time.Now(), pair.Leaf.NotAfter
	if now.After(ends) && c.current != nil && now.Before(c.current.Leaf.NotAfter) {
		return fmt.Errorf("certificate %s expired at %s", c.files.cert, ends.UTC().Format(time.RFC3339))
	}
	c.current = &pair
	return nil
}

// get is for tls.Config.GetCertificate.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.latest(), nil }

// latest reads the files again where they have changed.
func (c *certificate) latest() *tls.Certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.checked) < reloadEvery {
		return c.current
	}
	c.checked = time.Now()
	seen, err := c.files.versions()
	if seen == c.seen {
		return c.current
	}
	if err == nil {
		err = c.load()
	}
	c.seen = seen
	if err != nil {
		c.log.Error("certificate not reloaded, the current one stays in use", "file", c.files.cert, "error", err.Error())
	} else {
		c.log.Info("certificate reloaded", "file", c.files.cert)
	}
	return c.current
}

// watch logs once a day that the certificate expires soon or has expired.
func (c *certificate) watch(ctx context.Context) {
	tick := time.NewTicker(24 * time.Hour)
	defer tick.Stop()
	for {
		leaf := c.latest().Leaf
		about := []any{"use", c.use, "file", c.files.cert, "subject", leaf.Subject.String(), "not_after", leaf.NotAfter.UTC()}
		if left := time.Until(leaf.NotAfter); left <= 0 {
			c.log.ErrorContext(ctx, "certificate has expired", about...)
		} else if left < expiresSoon {
			c.log.WarnContext(ctx, "certificate expires soon", about...)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// certificates report at each scrape when they expire.
type certificates []*certificate

func (certificates) desc() *prometheus.Desc {
	return prometheus.NewDesc("chandler_functions_certificate_not_after_seconds",
		"When a certificate in use ends, in seconds since 1970, by its use and its subject.", []string{"use", "subject"}, nil)
}

// Describe implements prometheus.Collector.
func (c certificates) Describe(out chan<- *prometheus.Desc) { out <- c.desc() }

// Collect implements prometheus.Collector.
func (c certificates) Collect(out chan<- prometheus.Metric) {
	for _, one := range c {
		leaf := one.latest().Leaf
		out <- prometheus.MustNewConstMetric(c.desc(), prometheus.GaugeValue, float64(leaf.NotAfter.Unix()), one.use, leaf.Subject.String())
	}
}
