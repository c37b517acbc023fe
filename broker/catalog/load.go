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
	check := newChecker(name, getenv)
	c, offerings := check.catalog(data, defs, without)
	if err := check.faults.err(); err != nil {
		return nil, err
	}
	c.index(offerings)
	if err := c.publish(offerings); err != nil {
		return nil, err
	}
	return c, nil
}

func newChecker(name string, getenv func(string) (string, bool)) *checker {
	return &checker{file: name, getenv: getenv, said: make(map[string]bool), left: make(map[string]bool)}
}

// catalog reads all sections. What it returns is of use where there are no faults.
func (c *checker) catalog(data []byte, defs []services.Definition, without []string) (*Catalog, []offering) {
	read := &Catalog{file: c.file, source: data}
	root := c.document(data)
	if root == nil {
		return read, nil
	}
	c.leave(root, without)
	top := c.object(root, "backends", "delivery", "platforms", "operators", "quotas", "services")
	top.need("services")
	backends := c.backends(top, defs)
	read.backends = backends.list
	read.deliveries = c.deliveries(top)
	read.platforms = c.clients(top, "platforms", "a platform")
	read.operators = c.clients(top, "operators", "an operator")
	offerings := c.offerings(top, backends)
	read.quotas = c.quotas(top, read.platforms, offerings)
	return read, offerings
}

// LoadNames reads as much of the catalog as can be read without its variables: the
// names of services, plans, backends and servers, and the rules of plans and
// quotas. Nothing can be opened with it. It is for looking at the state, and returns
// a catalog in any case; the error says what else is wrong with the file.
func LoadNames(path string, defs []services.Definition, getenv func(string) (string, bool)) (*Catalog, error) {
	c := newChecker(path, getenv)
	c.spared = true
	data, err := os.ReadFile(path)
	if err != nil {
		empty := &Catalog{file: path}
		empty.index(nil)
		return empty, fmt.Errorf("read the catalog: %w", err)
	}
	names, offerings := c.catalog(data, defs, nil)
	names.index(offerings)
	return names, c.faults.err()
}

// Again parses the text that c was made of once more, with what the environment
// says now. What became of the file meanwhile does not count.
func (c *Catalog) Again(defs []services.Definition, getenv func(string) (string, bool), without ...string) (*Catalog, error) {
	return Parse(c.file, c.source, defs, getenv, without...)
}

// publish builds the answers to platforms.
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
	return nil
}

// index builds the maps by ID.
func (c *Catalog) index(offerings []offering) {
	c.serviceByID = make(map[string]*Service)
	c.planByID = make(map[string]*Plan)
	for _, o := range offerings {
		c.services = append(c.services, o.service)
		c.serviceByID[o.service.ID] = o.service
		for _, p := range o.service.Plans {
			c.planByID[p.ID] = p
		}
	}
}
