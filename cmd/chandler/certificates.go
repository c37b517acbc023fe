package main

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"log/slog"
	"net/url"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/chandler-broker/chandler/broker/catalog"
)

// expiresSoon is how long before a certificate expires the log begins to warn, at the
// start and then every certificatesEvery.
const (
	expiresSoon       = 30 * 24 * time.Hour
	certificatesEvery = 24 * time.Hour
)

// usedCertificates are certificates that this program uses, with their purpose and
// location. They are read again each time, because files are replaced.
type usedCertificates struct {
	use  string
	file string
	text string // PEM; where there is no file
}

// ends returns when the certificates end, by their subjects. Of several with one
// subject, such as an authority and its successor, the last counts: they are
// kept side by side so that the first may expire. What cannot be read is left out:
// its user reports that.
func (u usedCertificates) ends() map[string]time.Time {
	text := []byte(u.text)
	if u.file != "" {
		text, _ = os.ReadFile(u.file)
	}
	ends := map[string]time.Time{}
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			continue
		}
		if subject := c.Subject.String(); c.NotAfter.After(ends[subject]) {
			ends[subject] = c.NotAfter
		}
	}
	return ends
}

// certificates are all that the broker uses: its own, and the CAs of clients and
// servers.
func (a *app) certificates() []usedCertificates {
	var used []usedCertificates
	add := func(use, file, text string) {
		if file != "" || text != "" {
			used = append(used, usedCertificates{use, file, text})
		}
	}
	add("server", a.settings.TLSCert, "")
	add("state database", a.stateAuthority(), "")
	vault, _ := a.settings.lookup("VAULT_CACERT")
	add("vault", vault, "")
	for _, clients := range [][]catalog.Client{a.catalog.Platforms(), a.catalog.Operators()} {
		for _, c := range clients {
			if c.Certificates != nil {
				add("client "+c.Name, c.Certificates.CAFile, "")
			}
		}
	}
	if hub := a.catalog.Deliveries().CredHub; hub != nil {
		add("delivery credhub-ref", hub.CAFile, "")
		add("delivery credhub-ref", hub.CertificateFile, "")
	}
	for _, s := range a.catalog.Servers() {
		var config struct {
			CA     string `json:"ca"`
			CAFile string `json:"ca_file"`
		}
		if json.Unmarshal(s.Config.JSON(), &config) == nil {
			add("backend "+s.Key(), config.CAFile, config.CA)
		}
	}
	return used
}

// stateAuthority is the file by which the state database's server is trusted, as
// the PostgreSQL client finds it; empty for none.
func (a *app) stateAuthority() string {
	if u, err := url.Parse(a.settings.DatabaseURL); err == nil && u.Query().Get("sslrootcert") != "" {
		return u.Query().Get("sslrootcert")
	}
	file, _ := a.settings.lookup("PGSSLROOTCERT")
	return file
}

// certificateCollector reports at each scrape when certificates expire.
type certificateCollector struct {
	name string // of the metric
	used func() []usedCertificates
}

func (c certificateCollector) desc() *prometheus.Desc {
	return desc(c.name, "When a certificate in use ends, in seconds since 1970, by what it is used for and its subject.", "use", "subject")
}

// Describe implements prometheus.Collector.
func (c certificateCollector) Describe(out chan<- *prometheus.Desc) { out <- c.desc() }

// Collect implements prometheus.Collector.
func (c certificateCollector) Collect(out chan<- prometheus.Metric) {
	last := map[[2]string]time.Time{}
	for _, u := range c.used() {
		for subject, end := range u.ends() {
			if series := [2]string{u.use, subject}; last[series].IsZero() || end.Before(last[series]) {
				last[series] = end
			}
		}
	}
	for series, end := range last {
		out <- prometheus.MustNewConstMetric(c.desc(), prometheus.GaugeValue, float64(end.Unix()), series[0], series[1])
	}
}

// watchCertificates logs certificates that expire soon or have expired, until ctx
// ends.
func watchCertificates(ctx context.Context, used func() []usedCertificates, log *slog.Logger) {
	tick := time.NewTicker(certificatesEvery)
	defer tick.Stop()
	for {
		warnOfCertificates(ctx, used(), log)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func warnOfCertificates(ctx context.Context, used []usedCertificates, log *slog.Logger) {
	for _, u := range used {
		for subject, end := range u.ends() {
			attributes := []any{"use", u.use, "file", u.file, "subject", subject, "not_after", end.UTC()}
			switch left := time.Until(end); {
			case left <= 0:
				log.ErrorContext(ctx, "certificate has expired", attributes...)
			case left < expiresSoon:
				log.WarnContext(ctx, "certificate expires soon", attributes...)
			}
		}
	}
}
