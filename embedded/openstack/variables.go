package openstack

import "strconv"

// Services are all services.
func Services() []Service { return []Service{DNS, Shares, Databases, Objects} }

// Variables are the environment's by which deploy/openstack/catalog.yml finds the cloud's services.
func (c *Cloud) Variables() map[string]string {
	v := map[string]string{}
	if i := c.Identity; i != nil {
		v["OPENSTACK_AUTH_URL"], v["OPENSTACK_PASSWORD"], v["OPENSTACK_MEMBER_ROLE_ID"] = i.AuthURL(), i.Broker().Password, i.MemberRoleID()
	}
	if d := c.DNS; d != nil {
		v["DESIGNATE_HOST"], v["DESIGNATE_PORT"] = d.NameServer.Host(), strconv.Itoa(d.NameServer.Port())
	}
	if o := c.Objects; o != nil {
		v["RGW_ENDPOINT"], v["RGW_ACCESS_KEY_ID"], v["RGW_SECRET_ACCESS_KEY"] = o.Endpoint(), o.AccessKeyID(), o.SecretAccessKey()
	}
	return v
}
