package auth

import (
	"encoding/base64"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/servicetest/linear"
)

// Refusing a caller takes time that grows no faster than its headers.
func TestRefusingIsLinear(t *testing.T) {
	d, err := New(Options{
		Clients: []catalog.Client{
			{Name: "a", Username: "a", Passwords: []services.Secret{services.NewSecret("correct-horse-battery-staple")}},
			{Name: "b", Tokens: &catalog.Tokens{Issuer: "https://issuer.example.com", Audience: "chandler"}},
		},
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")},
		Logger:         slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, header := range map[string]func(n int) (string, string){
		"a password": func(n int) (string, string) {
			return "Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte(strings.Repeat("a:", n)))
		},
		"a token":          func(n int) (string, string) { return "Authorization", "Bearer " + strings.Repeat("a", n) },
		"a token of parts": func(n int) (string, string) { return "Authorization", "Bearer " + strings.Repeat(".", n) },
		"a token with text": func(n int) (string, string) {
			return "Authorization", "Bearer a." + base64.RawURLEncoding.EncodeToString([]byte(`{"iss":"`+strings.Repeat("a", n)+`"}`)) + ".a"
		},
		"proxies":    func(n int) (string, string) { return "X-Forwarded-For", strings.Repeat("10.0.0.1, ", n) + "10.0.0.1" },
		"no proxies": func(n int) (string, string) { return "X-Forwarded-For", strings.Repeat(", ", n) },
	} {
		t.Run(name, func(t *testing.T) {
			linear.Check(t, 600, func(n int) func() {
				r := httptest.NewRequest(http.MethodGet, "/v2/catalog", http.NoBody)
				r.Header.Set(header(n))
				return func() {
					if _, err := d.Authenticate(r); err == nil {
						t.Fatal("admitted")
					}
				}
			})
		})
	}
}
