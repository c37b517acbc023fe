package auth

import (
	"encoding/base64"
	"log/slog"
	"net/http/httptest"
	"testing"

	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/services"
)

func newAuthenticator(t *testing.T, clients ...catalog.Client) *Authenticator {
	t.Helper()
	d, err := New(Options{Clients: clients, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestAuthenticate(t *testing.T) {
	secrets := func(values ...string) (out []services.Secret) {
		for _, v := range values {
			out = append(out, services.NewSecret(v))
		}
		return out
	}
	authenticator := newAuthenticator(t, []catalog.Client{
		{Name: "cf", Username: "cloud", Passwords: secrets("old-password", "new-password")},
		{Name: "k8s", Username: "cluster", Passwords: secrets("pass:word")},
		{Name: "locked", Username: "locked", Passwords: secrets("")},
		{Name: "none", Username: "none"},
	}...)
	basic := func(userpass string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(userpass)) }
	for _, c := range []struct{ name, header, want string }{
		{"first password", basic("cloud:old-password"), "cf"},
		{"second password", basic("cloud:new-password"), "cf"},
		{"another platform, password with a colon", basic("cluster:pass:word"), "k8s"},
		{"scheme in another case", "bAsIc " + base64.StdEncoding.EncodeToString([]byte("cluster:pass:word")), "k8s"},
		{"nothing sent", "", ""},
		{"wrong password", basic("cloud:old-passwore"), ""},
		{"prefix of the password", basic("cloud:old"), ""},
		{"another platform's password", basic("cloud:pass:word"), ""},
		{"unknown user", basic("nobody:old-password"), ""},
		{"no password", basic("cloud:"), ""},
		{"no user", basic(":old-password"), ""},
		{"empty password opens nothing", basic("locked:"), ""},
		{"platform without a password", basic("none:"), ""},
		{"both empty", basic(":"), ""},
		{"no colon", basic("cloud"), ""},
		{"not base64", "Basic cloud:old-password", ""},
		{"another scheme", "Bearer " + base64.StdEncoding.EncodeToString([]byte("cloud:old-password")), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			authenticator.limits = newLimits() // each for itself
			r := httptest.NewRequest("GET", "/v2/catalog", nil)
			if c.header != "" {
				r.Header.Set("Authorization", c.header)
			}
			got, err := authenticator.Authenticate(r)
			if got != c.want || (err == nil) != (c.want != "") {
				t.Errorf("platform %q, %v; want %q", got, err, c.want)
			}
		})
	}
}
