package openstack

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

const programsFolder = "programs"

// clientPrograms are the programs for clients and administrators. Those that administer Ceph
// use the account of its administrator.
var clientPrograms = []struct {
	name   string
	python bool
	admin  bool
}{
	{name: "openstack", python: true},
	{name: "ceph-fuse"},
	{name: "ceph", python: true, admin: true},
	{name: "radosgw-admin", admin: true},
}

// Programs is a folder with the programs openstack, ceph-fuse, ceph and radosgw-admin, for PATH.
func (c *Cloud) Programs() string { return filepath.Join(c.options.Dir, programsFolder) }

func (c *Cloud) makePrograms() error {
	if err := os.MkdirAll(c.Programs(), 0o755); err != nil { //nolint:gosec // they contain no secret
		return err
	}
	for _, p := range clientPrograms {
		if p.admin && c.Ceph == nil {
			continue
		}
		command := "'" + c.packages.path("usr/bin/"+p.name) + "'"
		if p.python {
			command = "'" + c.packages.python + "' " + command
		}
		var exports strings.Builder
		for _, variable := range c.packages.environment("", "") {
			if name, value, _ := strings.Cut(variable, "="); name == "LD_LIBRARY_PATH" || name == "PYTHONPATH" {
				fmt.Fprintf(&exports, "export %s='%s'\n", name, strings.TrimPrefix(value, ":"))
			}
		}
		if p.admin {
			fmt.Fprintf(&exports, "export CEPH_CONF='%s'\n", c.Ceph.ConfigFile())
		}
		script := "#!/bin/sh\n" + exports.String() + "exec " + command + " \"$@\"\n"
		if err := replaceProgram(filepath.Join(c.Programs(), p.name), script); err != nil {
			return err
		}
	}
	return nil
}

func replaceProgram(path, script string) error {
	next := path + ".new"
	err := os.WriteFile(next, []byte(script), 0o755) //nolint:gosec // everybody may run it
	if err == nil {
		err = os.Rename(next, path)
	}
	if err != nil {
		return fmt.Errorf("write the programs of the cloud: %w", err)
	}
	return nil
}
