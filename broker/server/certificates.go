package server

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"log/slog"
	"net/url"
	"os"
	"time"

	"github.com/chandler-broker/chandler/broker/catalog"
)

// Certificates that expire within expiresSoon are logged at the start, and then every
// certificatesEvery.
const (
	expiresSoon       = 30 * 24 * time.Hour
	certificatesEvery = 24 * time.Hour
)

// certificateSource has certificates that the broker uses. It is read each time, because
// files are replaced.
type certificateSource struct {
	use  string
	file string
	text string // PEM, if there is no file
}

// ends returns when the certificates expire, by their subjects. Of several with one
// subject, such as an authority and its successor, the last counts. Unreadable ones are left
// out; their users report them.
func (c certificateSource) ends() map[string]time.Time {
	text := []byte(c.text)
	if c.file != "" {
		text, _ = os.ReadFile(c.file)
	}
	ends := map[string]time.Time{}
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		parsed, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			continue
		}
		if subject := parsed.Subject.String(); parsed.NotAfter.After(ends[subject]) {
			ends[subject] = parsed.NotAfter
		}
	}
	return ends
}

// certificates are those that the broker uses: its own, and the CAs of clients and
// servers.
func (s *Server) certificates() []certificateSource {
	var used []certificateSource
	add := func(use, file, text string) {
		if file != "" || text != "" {
			used = append(used, certificateSource{use, file, text})
		}
	}
	add("server", s.settings.TLSCert, "")
	add("state database", s.stateAuthority(), "")
	vault, _ := s.settings.Lookup("VAULT_CACERT")
	add("vault", vault, "")
	for _, clients := range [][]catalog.Client{s.catalog.Platforms(), s.catalog.Operators()} {
		for _, c := range clients {
			if c.Certificates != nil {
				add("client "+c.Name, c.Certificates.CAFile, "")
			}
		}
	}
	if hub := s.catalog.Deliveries().CredHub; hub != nil {
		add("delivery credhub-ref", hub.CAFile, "")
		add("delivery credhub-ref", hub.CertificateFile, "")
	}
	for _, server := range s.catalog.Servers() {
		var config struct {
			CA     string `json:"ca"`
			CAFile string `json:"ca_file"`
		}
		if json.Unmarshal(server.Config.JSON(), &config) == nil {
			add("backend "+server.Key(), config.CAFile, config.CA)
		}
	}
	return used
}

// stateAuthority is the CA file of the state database, as the PostgreSQL client finds it;
// empty for none.
func (s *Server) stateAuthority() string {
	if u, err := url.Parse(s.settings.DatabaseURL); err == nil && u.Query().Get("sslrootcert") != "" {
		return u.Query().Get("sslrootcert")
	}
	file, _ := s.settings.Lookup("PGSSLROOTCERT")
	return file
}

// collectCertificates reports when certificates expire.
func (s *Server) collectCertificates(_ context.Context, report gauge) {
	first := series{}
	for _, source := range s.certificates() {
		for subject, end := range source.ends() {
			labels := [2]string{source.use, subject}
			if known, ok := first[labels]; !ok || float64(end.Unix()) < known {
				first[labels] = float64(end.Unix())
			}
		}
	}
	first.report(report, "chandler_certificate_not_after_seconds")
}

// warnOfCertificates logs certificates that expire soon or have expired.
func warnOfCertificates(ctx context.Context, sources []certificateSource, log *slog.Logger) {
	for _, source := range sources {
		for subject, end := range source.ends() {
			attributes := []any{"use", source.use, "file", source.file, "subject", subject, "not_after", end.UTC()}
			switch left := time.Until(end); {
			case left <= 0:
				log.ErrorContext(ctx, "certificate has expired", attributes...)
			case left < expiresSoon:
				log.WarnContext(ctx, "certificate expires soon", attributes...)
			}
		}
	}
}
