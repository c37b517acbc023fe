package feed

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// An owner of a trigger can send any parameters: those that are not refused are usable.
func FuzzParams(f *testing.F) {
	f.Add([]byte(`{"cron": "* * * * *", "timezone": "UTC", "startDate": 1, "stopDate": "2030-01-01", "trigger_payload": {"a": 1}}`))
	f.Add([]byte(`{"minutes": "5", "date": 1e13, "deleteAfterFire": "rules", "maxTriggers": -1}`))
	f.Add([]byte(`{"stream": "S", "subject": "a.*.>", "durable": "d", "maxInFlight": 3, "credentials": {"uri": "nats://a,tls://b:1", "jwt": "x"}}`))
	f.Add([]byte(`{"credentials": {"servers": ["nats://[::1]:4222"], "creds": "-----BEGIN NATS USER JWT-----\nx\n------END NATS USER JWT------"}}`))
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, raw []byte) {
		var p params
		if json.Unmarshal(raw, &p) != nil {
			return
		}
		for _, kind := range []string{kindAlarm, kindInterval, kindOnce} {
			var s timing
			if err := s.set(kind, p, now); err != nil {
				refused(t, err)
				continue
			}
			due, err := s.start(kind, now)
			if err != nil {
				refused(t, err)
			} else if !due.After(now) {
				t.Errorf("%s is due at %s", kind, due)
			}
		}
		if _, err := p.payload(); err != nil {
			refused(t, err)
		}
		l := listening{}
		if _, err := l.set(p); err != nil {
			refused(t, err)
		} else if strings.ContainsAny(l.Stream+l.Subject+l.Durable+l.DeadLetter+l.Reply, " \t\r\n") {
			t.Errorf("white space in %+v", l)
		}
		if _, err := p.credentials(); err != nil {
			refused(t, err)
		}
	})
}

func refused(t *testing.T, err error) {
	t.Helper()
	if _, ok := errors.AsType[*Refusal](err); !ok {
		t.Errorf("not a refusal: %v", err)
	}
}

// A server's text is quoted, but not at any length.
func TestExplainIsShort(t *testing.T) {
	said := explain(&jetstream.APIError{Code: 400, Description: strings.Repeat("€", 1000)})
	if len(said) > maxTrouble || !strings.HasPrefix(said, "JetStream refuses: €€") || strings.ContainsRune(said, '\uFFFD') {
		t.Errorf("%d bytes: %q", len(said), said)
	}
}
