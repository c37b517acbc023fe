// Package cafile reads the certificates of authorities that a configuration
// gives as text or names as a file. Backends hand them to applications, so
// nothing but certificates passes: a file that also holds a private key is
// refused, and text between the certificates is left out.
package cafile

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"strings"
)

// Check finds what is wrong with the configuration keys ca and ca_file, without
// reading the file.
func Check(ca, file string) error {
	var faults []error
	if ca != "" && file != "" {
		faults = append(faults, errors.New("ca_file: cannot be given together with ca"))
	}
	if ca != "" {
		_, err := certificates([]byte(ca))
		faults = append(faults, named("ca:", err))
	}
	return errors.Join(faults...)
}

// Read returns the certificates of the configuration key ca or of the file that
// ca_file names, in PEM and without anything beside them; empty where neither is
// given.
func Read(ca, file string) (string, error) {
	if file != "" {
		return ReadFile("ca_file", file)
	}
	if ca == "" {
		return "", nil
	}
	text, err := certificates([]byte(ca))
	return text, named("ca:", err)
}

// ReadFile returns the certificates in a file, in PEM and without anything beside
// them. Errors begin with key, which names the file in the configuration.
func ReadFile(key, file string) (string, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("%s: %w", key, err)
	}
	text, err := certificates(content)
	return text, named(key+": "+file, err)
}

// Pool returns the certificates that Read or ReadFile returned for trusting
// them; nil, which is the system's, for none.
func Pool(certificates string) *x509.CertPool {
	if certificates == "" {
		return nil
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(certificates))
	return pool
}

// TLS is for connecting to a server whose certificate the certificates that Read or
// ReadFile returned have signed; for none, the system's authorities.
func TLS(certificates string) *tls.Config {
	return &tls.Config{RootCAs: Pool(certificates), MinVersion: tls.VersionTLS12}
}

func named(subject string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s %w", subject, err)
}

var begin = []byte("-----BEGIN")

// certificates returns the certificates of a text in PEM. Its errors quote nothing
// of it.
func certificates(text []byte) (string, error) {
	var found bytes.Buffer
	blocks, begins := 0, bytes.Count(text, begin)
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		blocks++
		if strings.HasSuffix(block.Type, "PRIVATE KEY") {
			return "", errors.New("holds a private key: remove it, because applications get this text")
		}
		if block.Type != "CERTIFICATE" {
			return "", fmt.Errorf("holds something other than certificates (PEM block %d): leave it out", blocks)
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return "", fmt.Errorf("holds a damaged certificate (PEM block %d): replace it", blocks)
		}
		if err := pem.Encode(&found, &pem.Block{Type: block.Type, Bytes: block.Bytes}); err != nil {
			return "", err
		}
	}
	switch {
	case begins == 0:
		return "", errors.New("is not a certificate in PEM")
	case blocks != begins: // a damaged block is skipped by the decoder
		return "", errors.New("holds a damaged PEM block: replace it")
	}
	return found.String(), nil
}
