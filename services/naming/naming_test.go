package naming_test

import (
	"testing"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/naming"
)

func TestRule(t *testing.T) {
	instance, binding := services.InstanceName("i"), services.BindingName("i", "b")
	one, two := naming.NewRule("c_"+naming.Safe), naming.NewRule("c_"+naming.Safe+"_"+naming.Safe)
	if got, ok := one.Instance("c_" + instance); !ok || got != instance {
		t.Errorf("instance %q, %t", got, ok)
	}
	if i, b, ok := two.Binding("c_" + instance + "_" + binding); !ok || i != instance || b != binding {
		t.Errorf("binding %q of %q, %t", b, i, ok)
	}
	for _, name := range []string{"", "c_", instance, "d_" + instance, "c_" + instance + "_", "xc_" + instance, "c_" + instance + "\n", "c_" + instance + "_" + binding + "x"} {
		if got, ok := one.Instance(name); ok {
			t.Errorf("%q is the name of %q", name, got)
		}
		if i, b, ok := two.Binding(name); ok {
			t.Errorf("%q is the name of %q of %q", name, b, i)
		}
	}
	if got := one.String(); got != `^c_([a-z2-7]{26})$` {
		t.Errorf("rule %s", got)
	}
}

func TestCheckPrefix(t *testing.T) {
	for prefix, good := range map[string]bool{
		"c": true, "c2": true, "abcdefgh": true,
		"": false, "C": false, "2c": false, "c_": false, "abcdefghi": false, "c\n": false, "ä": false,
	} {
		if err := naming.CheckPrefix(prefix, naming.MaxPrefix); (err == nil) != good {
			t.Errorf("prefix %q: %v", prefix, err)
		}
	}
}
