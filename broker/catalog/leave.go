package catalog

import (
	"slices"
	"strings"
)

// backupsKey is the key of the section and of plans. WithoutBackups, among the types of backends
// that Load leaves out, leaves out both.
const (
	backupsKey     = "backups"
	WithoutBackups = backupsKey
)

// leave removes from the document the backends of the given types, the plans on them, and
// the services without another plan, with the faults that were found in them.
func (c *checker) leave(root *node, types []string) {
	if len(types) == 0 {
		return
	}
	if slices.Contains(types, WithoutBackups) {
		c.leaveBackups(root)
	}
	removed := map[string]bool{}
	c.filter(root.member("backends"), func(name string, backend *node) bool {
		removed[name] = slices.Contains(types, memberText(backend, "type"))
		return !removed[name]
	})
	c.filter(root.member("services"), func(_ string, service *node) bool {
		plans := service.member("plans")
		if plans == nil || len(plans.items) == 0 {
			return true // another check reports this
		}
		name := memberText(service, "name")
		c.filter(plans, func(_ string, plan *node) bool {
			wanted := !removed[memberText(plan, "backend")]
			c.left[name+"/"+memberText(plan, "name")] = !wanted
			return wanted
		})
		c.left[name] = len(plans.items) == 0
		return len(plans.items) > 0
	})
}

func (c *checker) leaveBackups(root *node) {
	wanted := func(key string, _ *node) bool { return key != backupsKey }
	c.filter(root, wanted)
	if services := root.member("services"); services != nil {
		for _, service := range services.items {
			if plans := service.member("plans"); plans != nil {
				for _, plan := range plans.items {
					c.filter(plan, wanted)
				}
			}
		}
	}
}

// leaveOptionalStore leaves out the section "backups" if it only says that no store is required. The
// environment may have one.
func (c *checker) leaveOptionalStore(root *node) {
	section := root.member(backupsKey)
	required := section.member("required")
	if required == nil || required.kind != isFlag || required.text != "false" || section.member("store") != nil {
		return
	}
	if len(section.keys) > 1 {
		c.wrong(required, "the section has other keys, which are about its store; add store, or remove them")
		return
	}
	c.storeOptional = true
	c.filter(root, func(key string, _ *node) bool { return key != backupsKey })
}

// filter removes the unwanted members of a mapping or list, and their faults.
func (c *checker) filter(n *node, wanted func(key string, item *node) bool) {
	if n == nil {
		return
	}
	var keys []string
	var items []*node
	for i, item := range n.items {
		key := ""
		if n.kind == isMapping {
			key = n.keys[i]
		}
		if !wanted(key, item) {
			c.forget(item.path)
			continue
		}
		items = append(items, item)
		if n.kind == isMapping {
			keys = append(keys, key)
		}
	}
	n.keys, n.items = keys, items
}

// forget drops the faults at the path and below it.
func (c *checker) forget(path string) {
	c.faults = slices.DeleteFunc(c.faults, func(f Fault) bool {
		rest, below := strings.CutPrefix(f.Path, path)
		return below && (rest == "" || rest[0] == '.' || rest[0] == '[')
	})
}

// memberText is the text of a member; empty if it is absent.
func memberText(n *node, key string) string {
	if m := n.member(key); m != nil {
		return m.text
	}
	return ""
}
