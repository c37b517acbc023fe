package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
)

// newTransport makes the HTTP connections to one service, whose certificates are
// the authority's that the binding names, if any.
func newTransport(ca string) (*http.Transport, error) {
	t := http.DefaultTransport.(*http.Transport).Clone()
	if ca != "" {
		t.TLSClientConfig = &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12}
		if !t.TLSClientConfig.RootCAs.AppendCertsFromPEM([]byte(ca)) {
			return nil, errors.New("ca is no certificate in PEM")
		}
	}
	return t, nil
}
