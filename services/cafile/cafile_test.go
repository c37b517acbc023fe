package cafile

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func identity(t *testing.T) (certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	encode := func(kind string, data []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: data}))
	}
	return encode("CERTIFICATE", der), encode("PRIVATE KEY", secret)
}

func TestRead(t *testing.T) {
	one, key := identity(t)
	two, _ := identity(t)
	blockOf := func(text, kind string) string {
		block, _ := pem.Decode([]byte(text))
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: block.Bytes, Headers: block.Headers}))
	}
	headers := func() string {
		block, _ := pem.Decode([]byte(one))
		block.Headers = map[string]string{"Secret": "SESAME"}
		return string(pem.EncodeToMemory(block))
	}
	tests := []struct{ name, text, want, fault string }{
		{"one", one, one, ""},
		{"a chain", one + two, one + two, ""},
		{"text between certificates", "subject=SESAME\n" + one + "SESAME\n" + two + "SESAME", one + two, ""},
		{"carriage returns", strings.ReplaceAll(one, "\n", "\r\n"), one, ""},
		{"a header of a block", headers(), one, ""},
		{"a key behind", one + key, "", "holds a private key"},
		{"a key before", key + one, "", "holds a private key"},
		{"a key alone", key, "", "holds a private key"},
		{"an older kind of key", one + blockOf(key, "EC PRIVATE KEY"), "", "holds a private key"},
		{"an encrypted key", one + blockOf(key, "ENCRYPTED PRIVATE KEY"), "", "holds a private key"},
		{"another block", one + blockOf(key, "DH PARAMETERS"), "", "holds something other than certificates (PEM block 2)"},
		{"a key called a certificate", one + blockOf(key, "CERTIFICATE"), "", "holds a damaged certificate (PEM block 2)"},
		{"a key without its end", one + strings.Split(key, "-----END")[0], "", "holds a damaged PEM block"},
		{"a key that is not base64", one + strings.Replace(key, "\n", "\n!!SESAME!!", 1), "", "holds a damaged PEM block"},
		{"a certificate without its end", strings.Split(one, "-----END")[0], "", "holds a damaged PEM block"},
		{"no PEM", "SESAME", "", "is not a certificate in PEM"},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "ca.pem")
			if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			inline, inlineErr := Read(c.text, "")
			read, readErr := Read("", file)
			check := func(what, got string, err error) {
				t.Helper()
				if got != c.want || (err == nil) != (c.fault == "") || err != nil && !strings.HasPrefix(err.Error(), what+" "+c.fault) {
					t.Errorf("%q, %v; want %q, %s %s", got, err, c.want, what, c.fault)
				}
				if err != nil {
					quoted(t, err, c.text)
				}
			}
			check("ca:", inline, inlineErr)
			check("ca_file: "+file, read, readErr)
			if err := Check(c.text, ""); (err == nil) != (c.fault == "") {
				t.Errorf("check: %v, want %q", err, c.fault)
			}
			if (c.fault == "") != (Pool(read) != nil) {
				t.Error("the pool lacks the certificates")
			}
		})
	}
}

// quoted fails t if an error quotes a line of the text.
func quoted(t *testing.T, err error, text string) {
	t.Helper()
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && strings.Contains(err.Error(), line) {
			t.Errorf("the error quotes %[2]s: %[1]v", err, line)
		}
	}
}

func TestReadNothing(t *testing.T) {
	if text, err := Read("", ""); text != "" || err != nil || Pool(text) != nil {
		t.Errorf("%q, %v", text, err)
	}
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{empty: "CERTS: " + empty + " is not a certificate in PEM", empty + ".none": "CERTS: open " + empty + ".none: no such file"} {
		if _, err := ReadFile("CERTS", file); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

func TestCheck(t *testing.T) {
	certificate, _ := identity(t)
	for _, c := range []struct{ name, ca, file, want string }{
		{"nothing", "", "", ""},
		{"text", certificate, "", ""},
		{"a file, which is not read yet", "", "/nowhere", ""},
		{"both", "x", "y", "ca_file: cannot be given together with ca\nca: is not a certificate in PEM"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := ""
			if err := Check(c.ca, c.file); err != nil {
				got = err.Error()
			}
			if got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}
