package openwhisk

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chandler-broker/chandler/services"
)

func TestMountParameters(t *testing.T) {
	const badPath = "path: must be absolute, of A-Z, a-z, 0-9 and ._- between the slashes and no part beginning with a dot, 128 characters at most"
	mount := func(paths ...string) string {
		var all []string
		for _, p := range paths {
			all = append(all, `{"instance": "i", "path": "`+p+`"}`)
		}
		return `{"mounts": [` + strings.Join(all, ",") + `]}`
	}
	tests := []struct{ name, params, fault string }{
		{"none", `{}`, ""},
		{"two", mount("/photos", "/photographs/old.2-x_y"), ""},
		{"no instance", `{"mounts": [{"path": "/p"}]}`, "mounts[0].instance: must be the identifier of a service instance"},
		{"a long identifier", `{"mounts": [{"path": "/p", "instance": "` + strings.Repeat("ä", 256) + `"}]}`, "mounts[0].instance: must be the identifier of a service instance"},
		{"the root", mount("/"), "mounts[0]." + badPath},
		{"relative", mount("photos"), "mounts[0]." + badPath},
		{"upwards", mount("/a/../b"), "mounts[0]." + badPath},
		{"hidden", mount("/.ssh"), "mounts[0]." + badPath},
		{"a slash at the end", mount("/a/"), "mounts[0]." + badPath},
		{"two slashes", mount("//a"), "mounts[0]." + badPath},
		{"long", mount("/" + strings.Repeat("a", 128)), "mounts[0]." + badPath},
		{"twice", mount("/a", "/b", "/a"), "mounts[2].path: another mount is at, above or below it"},
		{"below", mount("/a", "/a/b"), "mounts[1].path: another mount is at, above or below it"},
		{"above", mount("/a/b", "/a"), "mounts[1].path: another mount is at, above or below it"},
		{"too many", mount("/1", "/2", "/3", "/4", "/5", "/6", "/7", "/8", "/9"), "mounts: must be 8 at most"},
		{"an unknown key", `{"mounts": [{"folder": "/"}]}`, "folder: no such key"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := ""
			if _, err := services.Decode[InstanceParams]([]byte(test.params)); err != nil {
				got = err.Error()
			}
			if diff := cmp.Diff(test.fault, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
