package rgw

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const goodConfig = `"endpoint": "http://127.0.0.1:7480", "access_key_id": "k", "secret_access_key": "s"`

func TestConfigFaults(t *testing.T) {
	for _, c := range []struct{ name, config, want string }{
		{"good", `{` + goodConfig + `}`, ""},
		{"all of it", `{` + goodConfig + `, "public_endpoint": "https://s3.example.org", "region": "eu-1", "prefix": "cf1"}`, ""},
		{"nothing", `{}`, "endpoint: must be http://host:port or https://host:port, without a user, a path or options\naccess_key_id: is missing: name an access key of the broker's user on the gateway\nsecret_access_key: is missing"},
		{"no scheme", `{` + strings.Replace(goodConfig, "http://", "", 1) + `}`, "endpoint: must be http://host:port or https://host:port, without a user, a path or options"},
		{"a path", `{` + goodConfig + `, "public_endpoint": "http://h/path"}`, "public_endpoint: must be http://host:port or https://host:port, without a user, a path or options"},
		{"a region in capitals", `{` + goodConfig + `, "region": "EU"}`, "region: must be the gateway's region, such as us-east-1"},
		{"two authorities", `{` + goodConfig + `, "ca": "x", "ca_file": "/x"}`, "ca_file: cannot be given together with ca\nca: is not a certificate in PEM"},
		{"a long prefix", `{` + goodConfig + `, "prefix": "abcdefghi"}`, "prefix: must be 1 to 8 characters of a-z and 0-9 and begin with a letter"},
		{"a folder", `{` + goodConfig + `, "folder": "/srv/s3"}`, "folder: no such key"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := ""
			if _, err := Definition().DecodeConfig(json.RawMessage(c.config)); err != nil {
				got = err.Error()
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("faults (-want +got):\n%s", diff)
			}
		})
	}
}
