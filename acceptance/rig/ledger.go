package rig

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
)

// Ledger records secrets, so that tests can search for them. It is safe for concurrent use.
type Ledger struct {
	mu      sync.Mutex
	secrets map[string]string // value → description
}

// prefix is the number of characters that the search compares first. It would find shorter
// secrets by chance.
const prefix = 8

// Add records a secret with its description.
func (l *Ledger) Add(what, value string) {
	if len(value) < prefix {
		panic(fmt.Sprintf("%s: a secret of %d characters would be found by chance", what, len(value)))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.secrets == nil {
		l.secrets = map[string]string{}
	}
	if _, known := l.secrets[value]; !known {
		l.secrets[value] = what
	}
}

// AddURL records the password of a URL.
func (l *Ledger) AddURL(what, text string) error {
	u, err := url.Parse(text)
	if err != nil {
		return fmt.Errorf("%s: not a URL", what)
	}
	if password, ok := u.User.Password(); ok {
		l.Add(what, password)
	}
	return nil
}

// AddCredentials records the secrets in a binding's credentials.
func (l *Ledger) AddCredentials(what string, credentials map[string]any) error {
	for _, key := range []string{"password", "secret_access_key", "tsig_secret", "nkey_seed", "application_credential_secret", "key"} {
		if secret, _ := credentials[key].(string); secret != "" {
			l.Add(key+" of "+what, secret)
		}
	}
	uri, _ := credentials["uri"].(string)
	return l.AddURL("password in the uri of "+what, uri)
}

// Len is the number of secrets.
func (l *Ledger) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.secrets)
}

// Finder searches for the secrets of a ledger: plain, percent-encoded, in base64 or in hexadecimal.
type Finder struct {
	first [1 << 18]uint64 // a bit for the first three bytes of each form
	forms map[string][]form
}

type form struct{ text, what string }

// Finder makes a Finder for the secrets so far.
func (l *Ledger) Finder() *Finder {
	f := &Finder{forms: map[string][]form{}}
	l.mu.Lock()
	defer l.mu.Unlock()
	for value, what := range l.secrets {
		f.add(value, what)
		f.add(base64.StdEncoding.EncodeToString([]byte(value)), what+", in base64")
		f.add(hex.EncodeToString([]byte(value)), what+", in hexadecimal")
		if escaped := url.QueryEscape(value); escaped != value {
			f.add(escaped, what+", percent-encoded")
		}
	}
	return f
}

func (f *Finder) add(text, what string) {
	f.forms[text[:prefix]] = append(f.forms[text[:prefix]], form{text, what})
	word, bit := position(text[0], text[1], text[2])
	f.first[word] |= bit
}

func position(a, b, c byte) (word int, bit uint64) {
	n := int(a)<<16 | int(b)<<8 | int(c)
	return n >> 6, 1 << (n & 63)
}

// Find returns the descriptions of the secrets in text, never the secrets themselves.
func (f *Finder) Find(text string) []string {
	var found []string
	for i := 0; i+prefix <= len(text); i++ {
		if word, bit := position(text[i], text[i+1], text[i+2]); f.first[word]&bit == 0 {
			continue
		}
		for _, form := range f.forms[text[i:i+prefix]] {
			if strings.HasPrefix(text[i:], form.text) && !slices.Contains(found, form.what) {
				found = append(found, form.what)
			}
		}
	}
	slices.Sort(found)
	return found
}
