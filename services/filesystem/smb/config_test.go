package smb

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/endpoint"
)

func TestConfigFaults(t *testing.T) {
	const (
		path   = ": must be an absolute path of letters, digits and . _ @ + - between single slashes"
		prefix = "prefix: must be 1 to 8 characters of a-z and 0-9 and begin with a letter"
		ids    = "first_id, last_id: must be a range of user numbers between 1000 and 4294967293"
	)
	for _, c := range []struct{ name, config, want string }{
		{"good", `{"folder": "/srv/smb"}`, ""},
		{"nothing", `{}`, "folder: is missing: name the directory that holds the shares"},
		{"all faults", `{"folder": "smb", "accounts": "", "config_file": "smb.conf", "programs": "bin", "address": "x", "public_address": "y", "first_id": 0, "prefix": "-"}`,
			`address: must be host:port, such as "127.0.0.1:445"` + "\n" + `public_address: must be host:port, such as "files.example.com:445"` +
				"\nfolder" + path + "\naccounts" + path + "\nconfig_file" + path + "\nprograms" + path + "\n" + ids + "\n" + prefix},
		{"an address without a port", `{"folder": "/s", "address": "127.0.0.1"}`, `address: must be host:port, such as "127.0.0.1:445"`},
		{"port 0", `{"folder": "/s", "address": "127.0.0.1:0"}`, `address: must be host:port, such as "127.0.0.1:445"`},
		{"a host that smuggles", `{"folder": "/s", "public_address": "h/x,uid=0:445"}`, `public_address: must be host:port, such as "files.example.com:445"`},
		{"version 6", `{"folder": "/s", "address": "[::1]:445"}`, ""},
		{"a variable of Samba's", `{"folder": "/srv/%U"}`, "folder" + path},
		{"a path that climbs", `{"folder": "/srv/../etc"}`, "folder" + path},
		{"a slash at the end", `{"folder": "/srv/"}`, "folder" + path},
		{"numbers the wrong way round", `{"folder": "/s", "first_id": 3000, "last_id": 2000}`, ids},
		{"the machine's own numbers", `{"folder": "/s", "first_id": 0, "last_id": 2000}`, ids},
		{"numbers that mean none", `{"folder": "/s", "last_id": 4294967294}`, ids},
		{"a prefix with a hyphen", `{"folder": "/s", "prefix": "a-b"}`, prefix},
		{"an unknown key", `{"folder": "/s", "share": "x"}`, "share: no such key"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Definition().DecodeConfig(json.RawMessage(c.config))
			faults(t, err, c.want)
		})
	}
}

func faults(t *testing.T, err error, want string) {
	t.Helper()
	got := ""
	if err != nil {
		got = err.Error()
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("faults (-want +got):\n%s", diff)
	}
}

func TestPlanFaults(t *testing.T) {
	for _, c := range []struct{ name, plan, want string }{
		{"nothing", `{}`, ""},
		{"all of it", `{"storage": "10GB", "files": 1000, "connections": 5, "bindings": 10, "delete_contents": true}`, ""},
		{"little storage", `{"storage": "1kB"}`, "storage: must be " + services.SizeForm + ", and 1MB at least"},
		{"storage as a number", `{"storage": 5}`, "storage: must be " + services.SizeForm + ", and 1MB at least"},
		{"no files", `{"files": -1}`, "files: must be from 1 to 1000000000, or left out for no limit"},
		{"too many connections", `{"connections": 100001}`, "connections: must be from 1 to 100000, or left out for no limit"},
		{"no bindings", `{"bindings": 0}`, "bindings: must be from 1 to 1000"},
		{"an unknown key", `{"objects": 1}`, "objects: no such key"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Definition().DecodePlan(json.RawMessage(c.plan))
			faults(t, err, c.want)
		})
	}
}

// What is wrong with a mount is said in words for the user.
func TestMountFaults(t *testing.T) {
	const form = "mount: must be an absolute path of letters, digits and . _ @ + - between single slashes, such as /data"
	hide := func(dir string) string {
		return "mount: the share would hide " + dir + " in the application's container; choose another directory, such as /data"
	}
	for _, c := range []struct{ name, mount, want string }{
		{"none", "", ""},
		{"a folder", "/data", ""},
		{"a deep one", "/home/vcap/app/public/up-loads_1", ""},
		{"hidden", "/home/.data", ""},
		{"like a device", "/devices", ""},
		{"relative", "data", form},
		{"the root", "/", form},
		{"a slash at the end", "/data/", form},
		{"blanks", "/my data", form},
		{"options", "/data,uid=0", form},
		{"another line", "/data\n/etc", form},
		{"upwards", "/data/..", "mount: must name the directory itself, without . and .. in its path"},
		{"in place", "/./data", "mount: must name the directory itself, without . and .. in its path"},
		{"devices", "/dev/shm", hide("/dev")},
		{"settings", "/etc", hide("/etc/cf-assets")},
		{"an application's settings", "/etc/shop", ""},
		{"an application's pages", "/usr/share/nginx/html", ""},
		{"programs", "/usr/bin", hide("/usr/bin")},
		{"among programs", "/usr/lib/x", hide("/usr/lib")},
		{"all of /usr", "/usr", hide("/usr/bin")},
		{"all of /usr/local", "/usr/local", hide("/usr/local")},
		{"the application's home", "/home/vcap", hide("/home/vcap/deps")},
		{"above that", "/home", hide("/home/vcap/deps")},
		{"the application", "/home/vcap/app", hide("/home/vcap/app")},
		{"beside the application", "/home/vcap/data", ""},
		{"in the application", "/home/vcap/app/uploads", ""},
		{"a buildpack's application", "/workspace", hide("/workspace")},
		{"the lifecycle", "/tmp/lifecycle", hide("/tmp/lifecycle")},
		{"all of /tmp", "/tmp", hide("/tmp/lifecycle")},
		{"in /tmp", "/tmp/shared", ""},
		{"the cell's", "/var/vcap", hide("/var/vcap")},
		{"the cell's packages", "/var/vcap/packages/x", hide("/var/vcap")},
		{"all volumes", "/var/vcap/data", hide("/var/vcap")},
		{"a volume", "/var/vcap/data/shop", ""},
		{"tokens of Kubernetes", "/var/run/secrets/kubernetes.io", hide("/var/run")},
		{"all of /var", "/var", hide("/var/run")},
		{"another volume", "/var/volume1", ""},
		{"a name like another", "/devices", ""},
		{"long", "/" + strings.Repeat("x", 255), "mount: must have 255 characters at most"},
	} {
		t.Run(c.name, func(t *testing.T) { faults(t, (&BindingParams{Mount: c.mount}).Validate(), c.want) })
	}
}

func TestCredentials(t *testing.T) {
	secret := services.NewSecret("p@ss")
	for _, c := range []struct {
		name, address string
		params        BindingParams
		mount         services.VolumeMount
		options       []any
	}{
		{
			"as it comes", "files.example.com:445", BindingParams{},
			services.VolumeMount{Driver: "smbdriver", ContainerDir: "/var/vcap/data/c-i", Mode: "rw", DeviceType: "shared", Device: services.VolumeDevice{
				VolumeID: "c-b", MountConfig: map[string]any{"source": "//files.example.com/c-i", "username": "c-b", "password": "p@ss"},
			}},
			[]any{"vers=3.1.1", "seal", "dir_mode=0777", "file_mode=0777", "noperm"},
		},
		{
			"read only, elsewhere", "10.0.0.1:1445", BindingParams{Mount: "/data", ReadOnly: true},
			services.VolumeMount{Driver: "smbdriver", ContainerDir: "/data", Mode: "r", DeviceType: "shared", Device: services.VolumeDevice{
				VolumeID: "c-b", MountConfig: map[string]any{"source": "//10.0.0.1/c-i", "username": "c-b", "password": "p@ss", "ro": "true"},
			}},
			[]any{"vers=3.1.1", "seal", "dir_mode=0777", "file_mode=0777", "noperm", "port=1445", "ro"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, at, err := endpoint.Parse("smb://"+c.address, ports)
			if err != nil {
				t.Fatal(err)
			}
			got := clientEndpoint{at}.credentials("c-i", "c-b", secret, c.params)
			if diff := cmp.Diff([]services.VolumeMount{c.mount}, got.VolumeMounts); diff != "" {
				t.Errorf("volume mounts (-want +got):\n%s", diff)
			}
			kubernetes, _ := got.Values["kubernetes"].(map[string]any)
			if diff := cmp.Diff(c.options, kubernetes["mount_options"]); diff != "" {
				t.Errorf("mount options (-want +got):\n%s", diff)
			}
			if want := "smb://c-b:p%40ss@" + c.address + "/c-i"; got.Values["uri"] != want {
				t.Errorf("uri: %v, want %s", got.Values["uri"], want)
			}
		})
	}
}
