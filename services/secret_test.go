package services_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/chandler-broker/chandler/services"
)

// Secrets and seeds are redacted when something prints, logs or encodes them, alone or
// within something else.
func TestSecretsAreRedacted(t *testing.T) {
	seed, err := services.NewSeed([]byte("0123456789abcdef0123456789abcdef"))
	if err != nil {
		t.Fatal(err)
	}
	password := seed.Password("password")
	type backend struct {
		Password services.Secret
		Seed     *services.Seed
	}
	values := map[string]any{
		"secret": password, "pointer to a secret": &password, "seed": seed, "struct": backend{password, seed},
		"binding": services.Binding[struct{}]{Seed: seed}, "list": []any{password, seed},
	}
	shows := func(text string) bool {
		return strings.Contains(text, password.Reveal()) || strings.Contains(text, "0123456789abcdef") || strings.Contains(text, "48 49 50 51")
	}
	for name, value := range values {
		t.Run(name, func(t *testing.T) {
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
				if text := fmt.Sprintf(verb, value); shows(text) {
					t.Errorf("%s prints %s", verb, text)
				}
			}
			for kind, handler := range map[string]func(*bytes.Buffer) slog.Handler{
				"text": func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) },
				"json": func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
			} {
				var log bytes.Buffer
				slog.New(handler(&log)).Info("message", "value", value)
				if shows(log.String()) {
					t.Errorf("the %s log contains %s", kind, log.String())
				}
			}
			if raw, err := json.Marshal(value); err == nil && shows(string(raw)) {
				t.Errorf("its JSON is %s", raw)
			}
		})
	}
}

func TestScrub(t *testing.T) {
	seed, err := services.NewSeed(make([]byte, services.SeedSize))
	if err != nil {
		t.Fatal(err)
	}
	password := seed.Password("a").Reveal()
	seed.Conceal("own form")
	seed.Conceal("")
	text := seed.Scrub("before " + password + " between own form after " + password)
	if want := "before [redacted] between [redacted] after [redacted]"; text != want {
		t.Errorf("scrubbed: %q", text)
	}
	var none *services.Seed
	if text := none.Scrub("as it was"); text != "as it was" {
		t.Errorf("scrubbed without a seed: %q", text)
	}
}
