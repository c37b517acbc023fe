package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	// reloadEvery is how often the files of a certificate are read.
	reloadEvery = time.Second
	// A certificate that expires within expiresSoon is logged every warnEvery.
	expiresSoon = 30 * 24 * time.Hour
	warnEvery   = 24 * time.Hour
)

// certificate is a TLS certificate in two files, which may be replaced while the
// server runs. nil is no TLS.
type certificate struct {
	use     string // in metrics and logs
	files   tlsFiles
	log     *slog.Logger
	expiry  *prometheus.GaugeVec
	current atomic.Pointer[tls.Certificate]
}

func newExpiry() *prometheus.GaugeVec {
	return prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "chandler_functions_certificate_not_after_seconds",
		Help: "When a certificate in use ends, in seconds since 1970, by its use and its subject.",
	}, []string{"use", "subject"})
}

func newCertificate(use string, files tlsFiles, log *slog.Logger, expiry *prometheus.GaugeVec) (*certificate, error) {
	if files.cert == "" {
		return nil, nil
	}
	c := &certificate{use: use, files: files, log: log, expiry: expiry}
	_, err := c.load()
	return c, err
}

// load reads the files. The current certificate stays if it is valid and the files'
// expired.
func (c *certificate) load() (changed bool, err error) {
	pair, err := tls.LoadX509KeyPair(c.files.cert, c.files.key)
	if err != nil {
		return false, fmt.Errorf("certificate %s with key %s: %w", c.files.cert, c.files.key, err)
	}
	now, end := time.Now(), pair.Leaf.NotAfter
	if current := c.current.Load(); current != nil {
		if slices.EqualFunc(pair.Certificate, current.Certificate, bytes.Equal) {
			return false, nil
		}
		if now.After(end) && now.Before(current.Leaf.NotAfter) {
			return false, fmt.Errorf("certificate %s expired at %s", c.files.cert, end.UTC().Format(time.RFC3339))
		}
	}
	c.current.Store(&pair)
	c.expiry.DeletePartialMatch(prometheus.Labels{"use": c.use})
	c.expiry.WithLabelValues(c.use, pair.Leaf.Subject.String()).Set(float64(end.Unix()))
	return true, nil
}

// get is for tls.Config.GetCertificate.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return c.current.Load(), nil
}

// watch reloads the files when they change, and warns of an end that is near, until
// ctx ends.
func (c *certificate) watch(ctx context.Context) {
	if c == nil {
		return
	}
	tick := time.NewTicker(reloadEvery)
	defer tick.Stop()
	var warned time.Time
	for logged := ""; ctx.Err() == nil; {
		if time.Since(warned) >= warnEvery {
			c.warn(ctx)
			warned = time.Now()
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
			logged = c.reload(ctx, logged)
		}
	}
}

// reload returns the error that it logged, unless that is logged already.
func (c *certificate) reload(ctx context.Context, logged string) string {
	changed, err := c.load()
	if changed {
		c.log.InfoContext(ctx, "certificate reloaded", "file", c.files.cert)
	}
	if err == nil {
		return ""
	}
	if err.Error() != logged {
		c.log.ErrorContext(ctx, "certificate not reloaded, the current one stays in use", "file", c.files.cert, "error", err.Error())
	}
	return err.Error()
}

// warn logs that the certificate expires soon or has expired.
func (c *certificate) warn(ctx context.Context) {
	leaf := c.current.Load().Leaf
	about := []any{"use", c.use, "file", c.files.cert, "subject", leaf.Subject.String(), "not_after", leaf.NotAfter.UTC()}
	if left := time.Until(leaf.NotAfter); left <= 0 {
		c.log.ErrorContext(ctx, "certificate has expired", about...)
	} else if left < expiresSoon {
		c.log.WarnContext(ctx, "certificate expires soon", about...)
	}
}
