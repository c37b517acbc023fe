package osb_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// A client that goes away changes nothing: what it asked for goes on, and its
// going is no fault of ours.
func TestClientGoesAway(t *testing.T) {
	t.Parallel()
	w := newWire(t)
	w.takes("provision", "i1")
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	go func() {
		for ctx.Err() == nil && !slices.Contains(w.Backend.Calls(), "provision i1") {
			time.Sleep(10 * time.Millisecond)
		}
		leave()
	}()
	r, err := http.NewRequestWithContext(ctx, "PUT", w.url+"/v2/service_instances/i1", strings.NewReader(small))
	if err != nil {
		t.Fatal(err)
	}
	r.SetBasicAuth("cf", "cf-password")
	r.Header.Set("X-Broker-API-Version", "2.17")
	if _, err := http.DefaultTransport.RoundTrip(r); !errors.Is(err, context.Canceled) { //nolint:bodyclose // there is no answer
		t.Fatalf("the request ended with %v", err)
	}
	eventually(t, "the request is logged", func() bool { return strings.Contains(w.log.String(), `"code":499`) })
	if log := w.log.String(); strings.Contains(log, `"level":"ERROR"`) {
		t.Errorf("a client that went away is an error in the log:\n%s", log)
	}
	if got := w.do(t, "GET /v2/service_instances/i1/last_operation", nil, ""); !strings.Contains(got.body, "in progress") {
		t.Errorf("after the client went away: %d %s", got.status, got.body)
	}
	w.make("provision", "i1", nil)
	eventually(t, "the instance is there", func() bool { return w.do(t, "GET /v2/service_instances/i1", nil, "").status == 200 })
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for range 1500 {
		if holds() {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("after 30 s it does not hold that %s", what)
}
