package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
)

// newTransport makes HTTP connections to a service. It trusts the binding's certificate
// authority, if any.
func newTransport(ca string) (*http.Transport, error) {
	t := http.DefaultTransport.(*http.Transport).Clone()
	if ca != "" {
		t.TLSClientConfig = &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12}
		if !t.TLSClientConfig.RootCAs.AppendCertsFromPEM([]byte(ca)) {
			return nil, errors.New("ca must be a certificate in PEM")
		}
	}
	return t, nil
}
