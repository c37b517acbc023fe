package catalog

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"time"

	"github.com/chandler-broker/chandler/services"
)

// Load reads the catalog from a file. defs are the backends there are; getenv
// reads the environment, as os.LookupEnv does. An error of the file's content is
// Faults: everything that is wrong, in the file's order. Backends of the types
// in without are left out, with their plans and the services that have no other,
// as if the file did not name them: chandler dev has no server for them.
func Load(path string, defs []services.Definition, getenv func(string) (string, bool), without ...string) (*Catalog, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the catalog: %w", err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read the catalog: %w", err)
	}
	c, err := Parse(path, data, defs, getenv, without...)
	if err != nil {
		return nil, err
	}
	c.lastModified = info.ModTime().UTC().Truncate(time.Second)
	return c, nil
}

// Parse is Load for data in memory; name stands for the file in faults.
func Parse(
	name string, data []byte, defs []services.Definition, getenv func(string) (string, bool), without ...string,
) (*Catalog, error) {
	check := &checker{file: name, getenv: getenv, said: make(map[string]bool), left: make(map[string]bool)}
	root := check.document(data)
	if root == nil {
		return nil, check.faults.err()
	}
	check.leave(root, without)
	top := check.object(root, "backends", "delivery", "platforms", "operators", "quotas", "services")
	top.need("services")
	backends := check.backends(top, defs)
	deliveries := check.deliveries(top)
	platforms := check.clients(top, "platforms", "a platform")
	operators := check.clients(top, "operators", "an operator")
	offerings := check.offerings(top, backends)
	quotas := check.quotas(top, platforms, offerings)
	if err := check.faults.err(); err != nil {
		return nil, err
	}
	c := &Catalog{file: name, source: data, backends: backends.list, platforms: platforms, operators: operators, quotas: quotas, deliveries: deliveries}
	if err := c.publish(offerings); err != nil {
		return nil, err
	}
	return c, nil
}

// Again parses the text that c was made of once more, with what the environment
// says now. What became of the file meanwhile does not count.
func (c *Catalog) Again(defs []services.Definition, getenv func(string) (string, bool), without ...string) (*Catalog, error) {
	return Parse(c.file, c.source, defs, getenv, without...)
}

// publish fills in what the catalog is asked for.
func (c *Catalog) publish(offerings []offering) error {
	var err error
	if c.json, err = encode(offerings); err != nil {
		return fmt.Errorf("encode the catalog of %s: %w", c.file, err)
	}
	if _, err = decodeDomain(c.json); err != nil {
		return fmt.Errorf("read the catalog of %s back: %w", c.file, err)
	}
	sum := sha256.Sum256(c.json)
	c.etag = `"` + hex.EncodeToString(sum[:16]) + `"`
	c.serviceByID = make(map[string]*Service)
	c.planByID = make(map[string]*Plan)
	for _, o := range offerings {
		c.services = append(c.services, o.service)
		c.serviceByID[o.service.ID] = o.service
		for _, p := range o.service.Plans {
			c.planByID[p.ID] = p
		}
	}
	return nil
}
