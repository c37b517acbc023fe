package openwhisk

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// reachable is a folder that every user can enter: the runtime may be another one's.
func reachable(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	for dir := folder; len(dir) > len(os.TempDir()); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

// The runtime decides which mounts are valid, and the user reads its rules.
func TestMountParameters(t *testing.T) {
	const (
		badPath     = "path: must be absolute, of A-Z, a-z, 0-9 and ._- between the slashes and no part beginning with a dot, 128 characters at most"
		badInstance = "mounts[0].instance: must have 1 to 255 characters"
	)
	b, folder := newServer(t).open(t), reachable(t)
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
		{"no instance", `{"mounts": [{"path": "/p"}]}`, badInstance},
		{"a long identifier", `{"mounts": [{"path": "/p", "instance": "` + strings.Repeat("ä", 256) + `"}]}`, badInstance},
		{"the root", mount("/"), "mounts[0]." + badPath},
		{"relative", mount("photos"), "mounts[0]." + badPath},
		{"upwards", mount("/a/../b"), "mounts[0]." + badPath},
		{"hidden", mount("/.ssh"), "mounts[0]." + badPath},
		{"a slash at the end", mount("/a/"), "mounts[0]." + badPath},
		{"two slashes", mount("//a"), "mounts[0]." + badPath},
		{"long", mount("/" + strings.Repeat("a", 128)), "mounts[0]." + badPath},
		{"too many", mount("/1", "/2", "/3", "/4", "/5", "/6", "/7", "/8", "/9"), "mounts: must be 8 at most"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			inst := testInstance(t, test.params)
			inst.Directories = map[string]string{}
			for _, id := range b.MountedInstances(inst.Params) {
				inst.Directories[id] = folder
			}
			err := servicetest.Once(b).Provision(t.Context(), inst)
			message, rejected := services.IsRejected(err)
			if diff := cmp.Diff(test.fault, message); diff != "" || rejected != (err != nil) {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		})
	}
	for params, fault := range map[string]string{
		`{"mounts": [{"folder": "/"}]}`: "folder: no such key",
		mount("/a", "/b", "/a"):         "mounts[2].path: another mount is at, above or below it",
		mount("/a", "/a/b"):             "mounts[1].path: another mount is at, above or below it",
		mount("/a/b", "/a"):             "mounts[1].path: another mount is at, above or below it",
	} {
		if _, err := services.Decode[InstanceParams](json.RawMessage(params)); err == nil || err.Error() != fault {
			t.Errorf("%s: %v, want %s", params, err, fault)
		}
	}
}

// The runtime decides which plans are valid, and the operator reads its rules.
func TestPlanValues(t *testing.T) {
	b := newServer(t).open(t)
	tests := []struct{ name, plan, fault string }{
		{"the defaults", `{}`, ""},
		{"the least", `{"label": "l", "memory": "16MB", "timeout": "100ms", "logs": "1MB", "code": "1kB", "payload": "1kB", "concurrency": 1, "triggers": 0, "retention": "1m", "activation_storage": "1MB", "dead_letters": 0}`, ""},
		{"a label with a blank", `{"label": "a b"}`, "limits.plan: must be 1 to 64 of A-Z, a-z, 0-9 and ._- and begin with a letter or digit"},
		{"memory in kB", `{"memory": "262145kB"}`, "limits.memory_bytes: must be a multiple of 1048576 from 16777216 to 536870912"},
		{"memory above OpenWhisk's", `{"memory": "1GB"}`, "limits.memory_bytes: must be a multiple of 1048576 from 16777216 to 536870912"},
		{"a short time", `{"timeout": "1ms"}`, "limits.timeout_ms: must be a whole number from 100 to 300000"},
		{"logs", `{"logs": "11MB"}`, "limits.log_bytes: must be a multiple of 1048576 from 1048576 to 10485760"},
		{"code", `{"code": "49MB"}`, "limits.code_bytes: must be a whole number from 1024 to 50331648"},
		{"payload", `{"payload": "2MB"}`, "limits.payload_bytes: must be a whole number from 1024 to 1048576"},
		{"retention", `{"retention": "1s"}`, "limits.retention_s: must be a whole number from 60 to 31536000"},
		{"storage", `{"activation_storage": "1kB"}`, "limits.activation_bytes: must be a whole number from 1048576 to 107374182400"},
		{"counts", `{"concurrency": 0, "actions": -1, "message_attempts": 101}`,
			"limits.actions: must be a whole number from 1 to 10000; limits.concurrency: must be a whole number from 1 to 1000; limits.message_attempts: must be a whole number from 1 to 100"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			inst := testInstance(t, `{}`)
			inst.Plan.SetDefaults()
			if err := json.Unmarshal([]byte(test.plan), &inst.Plan); err != nil { // without our own checks
				t.Fatal(err)
			}
			got := ""
			if err := servicetest.Once(b).Provision(t.Context(), inst); err != nil {
				got = err.Error()
				if _, rejected := services.IsRejected(err); rejected {
					t.Error("the user is to blame")
				}
			}
			if test.fault != "" {
				test.fault = "write the namespace: the administration API answers 400: " + test.fault
			}
			if diff := cmp.Diff(test.fault, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
