// Package cafile reads the certificates of authorities that a configuration contains or
// names as a file. Backends give them to applications, so only certificates pass: the
// package refuses a file that also contains a private key, and omits text between the
// certificates.
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

// Check checks the configuration keys ca and ca_file without reading the file.
func Check(ca, file string) error {
	_, err := Read(ca, "")
	if ca != "" && file != "" {
		err = errors.Join(errors.New("ca_file: cannot be given together with ca"), err)
	}
	return err
}

// Read returns the certificates of the configuration key ca, or of the file that ca_file
// names, in PEM and without other text; empty if neither is set.
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

// ReadFile returns the certificates in a file, in PEM and without other text. Errors begin
// with key, the file's key in the configuration.
func ReadFile(key, file string) (string, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("%s: %w", key, err)
	}
	text, err := certificates(content)
	return text, named(key+": "+file, err)
}

// Pool returns a pool of the certificates that Read or ReadFile returned; nil, which means
// the system's, for none.
func Pool(certificates string) *x509.CertPool {
	if certificates == "" {
		return nil
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(certificates))
	return pool
}

// TLS is for connecting to a server whose certificate is signed by those that Read or
// ReadFile returned; for none, by the system's authorities.
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

// certificates returns the certificates in a text. Its errors do not quote the text.
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
	case blocks != begins: // the decoder skips a damaged block
		return "", errors.New("holds a damaged PEM block: replace it")
	}
	return found.String(), nil
}
