package objectstore_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/filesystem/objectstore"
)

func TestPlanFaults(t *testing.T) {
	for _, c := range []struct{ name, plan, want string }{
		{"nothing", `{}`, ""},
		{"all of it", `{"storage": "10GB", "objects": 1000000, "bindings": 10, "delete_contents": true}`, ""},
		{"little storage", `{"storage": "1kB"}`, "storage: must be " + services.SizeForm + ", and 1MB at least"},
		{"storage as a number", `{"storage": 5}`, "storage: must be " + services.SizeForm + ", and 1MB at least"},
		{"too much", `{"storage": "9999999TB"}`, "storage: must be " + services.SizeForm + ", and 1MB at least"},
		{"negative objects", `{"objects": -1}`, "objects: must be from 1 to 1000000000, or left out for no limit"},
		{"no bindings", `{"bindings": 0}`, "bindings: must be from 1 to 1000"},
		{"text for a flag", `{"delete_contents": "yes"}`, "delete_contents: must be true or false, not a string"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := ""
			if _, err := services.Decode[objectstore.Plan](json.RawMessage(c.plan)); err != nil {
				got = err.Error()
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("faults (-want +got):\n%s", diff)
			}
		})
	}
}

func TestCredentials(t *testing.T) {
	for _, c := range []struct {
		endpoint, port, address string
		tls                     bool
	}{
		{"http://gateway", "80", "gateway:80", false},
		{"https://gateway", "443", "gateway:443", true},
		{"https://[::1]:9000", "9000", "[::1]:9000", true},
	} {
		u, err := url.Parse(c.endpoint)
		if err != nil {
			t.Fatal(err)
		}
		got := objectstore.NewEndpoint(u, "us-east-1", "").BucketCredentials("bucket", "key", services.NewSecret("secret"))
		if uri, want := fmt.Sprint(got.Values["uri"]), "s3://key:secret@"+c.address+"/bucket?region=us-east-1&tls="; !strings.HasPrefix(uri, want) {
			t.Errorf("uri: %v", got.Values["uri"])
		}
		if got.Values["tls"] != c.tls || got.Values["endpoint"] != c.endpoint || got.Endpoints[0].Ports[0] != c.port {
			t.Errorf("%s: %v, %v", c.endpoint, got.Values, got.Endpoints)
		}
	}
}
