/* The reference: how fast can this kernel build and release N containers on one bridge?
 *
 * Each container is a network namespace with a name in /run/netns, the sysctls that labkit states, eth0 with its own MAC,
 * an address and a default route, plugged into br0 and ready to ping. Plain netlink, 64 messages a send, one
 * acknowledgement each, one socket a namespace, kept open. No tuning that labkit lacks, none that labkit has is missing.
 *
 *     build N      prints: seconds to build, seconds to tear down
 *     build N -    builds, prints, waits for a line on stdin, and tears down
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 64, MANY = 400, GROUP = 77, BRIDGE = 1000000 };

static char buffer[1 << 18], reply[1 << 16];
static size_t filled;
static unsigned sequence;
static int in_batch;

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static struct nlmsghdr *message(int type, int flags, const void *header, size_t size)
{
    struct nlmsghdr *m = (void *)(buffer + filled);
    memset(m, 0, NLMSG_HDRLEN + size + 3);
    *m = (struct nlmsghdr){NLMSG_HDRLEN + size, type, NLM_F_REQUEST | flags, ++sequence, 0};
    memcpy(NLMSG_DATA(m), header, size);
    return m;
}

static struct rtattr *put(struct nlmsghdr *m, int type, const void *data, size_t size)
{
    struct rtattr *a = (void *)((char *)m + NLMSG_ALIGN(m->nlmsg_len));
    *(int *)((char *)a + (RTA_LENGTH(size) & ~3)) = 0;
    a->rta_type = type;
    a->rta_len = RTA_LENGTH(size);
    if (size)
        memcpy(RTA_DATA(a), data, size);
    m->nlmsg_len = NLMSG_ALIGN(m->nlmsg_len) + RTA_ALIGN(a->rta_len);
    return a;
}

static void put32(struct nlmsghdr *m, int type, unsigned value) { put(m, type, &value, 4); }
static void put_text(struct nlmsghdr *m, int type, const char *text) { put(m, type, text, strlen(text) + 1); }
static void end(struct nlmsghdr *m, struct rtattr *a) { a->rta_len = (char *)m + m->nlmsg_len - (char *)a; }

static void flush(int fd)
{
    struct nlmsghdr *last = NULL;
    if (!filled)
        return;
    for (size_t at = 0; at < filled; at += NLMSG_ALIGN(last->nlmsg_len))
        last = (void *)(buffer + at);
    last->nlmsg_flags |= NLM_F_ACK;
    unsigned wanted = last->nlmsg_seq;
    if (send(fd, buffer, filled, 0) < 0)
        fail("send");
    filled = in_batch = 0;
    for (;;) {
        int got = recv(fd, reply, sizeof reply, 0);
        if (got < 0)
            fail("recv");
        for (struct nlmsghdr *m = (void *)reply; NLMSG_OK(m, (unsigned)got); m = NLMSG_NEXT(m, got)) {
            if (m->nlmsg_type != NLMSG_ERROR)
                continue;
            int code = *(int *)NLMSG_DATA(m);
            if (code) {
                errno = -code;
                fail("refused");
            }
            if (m->nlmsg_seq == wanted)
                return;
        }
    }
}

static void done(int fd, struct nlmsghdr *m)
{
    filled += NLMSG_ALIGN(m->nlmsg_len);
    if (++in_batch == BATCH)
        flush(fd);
}

static int netlink(void)
{
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE), one = 1;
    if (fd < 0)
        fail("socket");
    setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &one, sizeof one);
    setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &one, sizeof one);
    return fd;
}

static void up(int fd, const char *name)
{
    struct ifinfomsg header = {.ifi_flags = IFF_UP, .ifi_change = IFF_UP};
    struct nlmsghdr *m = message(RTM_NEWLINK, 0, &header, sizeof header);
    put_text(m, IFLA_IFNAME, name);
    done(fd, m);
}

static void show(int fd, const char *name) /* acts upon a pending carrier: see linkwatch_sync_dev in the kernel */
{
    struct ifinfomsg header = {0};
    struct nlmsghdr *m = message(RTM_GETLINK, 0, &header, sizeof header);
    put_text(m, IFLA_IFNAME, name);
    put32(m, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
    done(fd, m);
}

static void address(int fd, int ifindex, unsigned ip, int prefix)
{
    struct ifaddrmsg header = {AF_INET, prefix, 0, 0, ifindex};
    struct nlmsghdr *m = message(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, &header, sizeof header);
    put32(m, IFA_LOCAL, ip);
    put32(m, IFA_ADDRESS, ip);
    put32(m, IFA_BROADCAST, ip | htonl((1u << (32 - prefix)) - 1));
    done(fd, m);
}

static void neighbour(int fd, int ifindex, unsigned ip, const unsigned char *mac)
{
    struct ndmsg header = {.ndm_family = AF_INET, .ndm_ifindex = ifindex, .ndm_state = NUD_PERMANENT};
    struct nlmsghdr *m = message(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, &header, sizeof header);
    put32(m, NDA_DST, ip);
    put(m, NDA_LLADDR, mac, 6);
    done(fd, m);
}

static const struct { const char *path; char value; } stated[] = {
    {"/proc/sys/net/ipv4/conf/all/forwarding", '0'},        {"/proc/sys/net/ipv4/conf/default/forwarding", '0'},
    {"/proc/sys/net/ipv4/conf/all/rp_filter", '0'},         {"/proc/sys/net/ipv4/conf/default/rp_filter", '0'},
    {"/proc/sys/net/ipv4/conf/lo/rp_filter", '0'},          {"/proc/sys/net/ipv4/igmp_link_local_mcast_reports", '0'},
    {"/proc/sys/net/ipv6/conf/all/disable_ipv6", '1'},      {"/proc/sys/net/ipv6/conf/default/disable_ipv6", '1'},
    {"/proc/sys/net/bridge/bridge-nf-call-iptables", '0'},  {"/proc/sys/net/bridge/bridge-nf-call-ip6tables", '0'},
    {"/proc/sys/net/bridge/bridge-nf-call-arptables", '0'},
};
enum { STATED = sizeof stated / sizeof *stated };
static int differs[STATED];

static void state(int i)
{
    int fd = open(stated[i].path, O_WRONLY);
    if (fd < 0 || write(fd, &stated[i].value, 1) != 1)
        fail(stated[i].path);
    close(fd);
}

static void state_first(void) /* and find out what must be written: all new namespaces start alike */
{
    for (int i = 0; i < STATED; i++) {
        char value = stated[i].value;
        int fd = open(stated[i].path, O_RDONLY);
        if (fd < 0)
            continue;
        if (read(fd, &value, 1) == 1)
            differs[i] = value != stated[i].value;
        close(fd);
        if (differs[i])
            state(i);
    }
}

static void state_next(void)
{
    for (int i = 0; i < STATED; i++)
        if (differs[i])
            state(i);
}

static unsigned ip_of(int i) { return htonl(0x0a000000u + 256 + i / 250 * 256 + i % 250 + 1); }

static void mac_of(unsigned char *mac, int side, int i)
{
    memcpy(mac, (unsigned char[]){2, side, 0, i >> 16, i >> 8, i}, 6);
}

int main(int argc, char **argv)
{
    int n = argc > 1 ? atoi(argv[1]) : 100;
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    int *sockets = calloc(n, sizeof(int)), *namespaces = calloc(n, sizeof(int));
    char name[64], target[64];
    unsigned char mac[6], bridge_mac[6];
    unsigned gateway = htonl(0x0a000001);
    mac_of(bridge_mac, 3, 0);

    double start = now();
    int home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    int host = netlink();
    char process[32] = {0};
    if (readlink("/proc/self", process, sizeof process - 1) < 0)
        fail("/proc/self");
    for (int i = 0; i < n; i++) {
        if (unshare(CLONE_NEWNET))
            fail("unshare");
        if (i == 0)
            state_first();
        else
            state_next();
        sockets[i] = netlink();
        namespaces[i] = ioctl(sockets[i], SIOCGSKNS);
        snprintf(name, sizeof name, "/run/netns/c%d", i);
        snprintf(target, sizeof target, "/proc/%s/fd/%d", process, namespaces[i]);
        if (symlink(target, name))
            fail(name);
    }
    if (setns(home, CLONE_NEWNET))
        fail("setns");

    struct ifinfomsg header = {.ifi_index = BRIDGE};
    struct nlmsghdr *m = message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &header, sizeof header);
    put_text(m, IFLA_IFNAME, "br0");
    put(m, IFLA_ADDRESS, bridge_mac, 6);
    put32(m, IFLA_MTU, 1500);
    put32(m, IFLA_GROUP, GROUP);
    struct rtattr *info = put(m, IFLA_LINKINFO, NULL, 0);
    put(m, IFLA_INFO_KIND, "bridge", 6);
    end(m, info);
    done(host, m);
    address(host, BRIDGE, gateway, 16);
    up(host, "br0");
    flush(host);

    for (int i = 0; i < n; i++) {
        struct ifinfomsg near = {.ifi_flags = IFF_UP, .ifi_change = IFF_UP}, far = {.ifi_index = 2};
        m = message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &near, sizeof near);
        snprintf(name, sizeof name, "veth-c%d", i);
        mac_of(mac, 1, i);
        put(m, IFLA_ADDRESS, mac, 6);
        put32(m, IFLA_MTU, 1500);
        put_text(m, IFLA_IFNAME, name);
        put32(m, IFLA_NUM_TX_QUEUES, 1);
        put32(m, IFLA_NUM_RX_QUEUES, 1);
        put32(m, IFLA_MASTER, BRIDGE);
        put32(m, IFLA_GROUP, GROUP);
        info = put(m, IFLA_LINKINFO, NULL, 0);
        put(m, IFLA_INFO_KIND, "veth", 4);
        struct rtattr *data = put(m, IFLA_INFO_DATA, NULL, 0);
        struct rtattr *peer = put(m, VETH_INFO_PEER, &far, sizeof far);
        mac_of(mac, 2, i);
        put(m, IFLA_ADDRESS, mac, 6);
        put32(m, IFLA_MTU, 1500);
        put_text(m, IFLA_IFNAME, "eth0");
        put32(m, IFLA_NUM_TX_QUEUES, 1);
        put32(m, IFLA_NUM_RX_QUEUES, 1);
        put32(m, IFLA_NET_NS_FD, namespaces[i]);
        end(m, peer);
        end(m, data);
        end(m, info);
        done(host, m);
    }
    flush(host);

    for (int i = 0; i < n; i++) {
        up(sockets[i], "lo");
        up(sockets[i], "eth0");
        address(sockets[i], 2, ip_of(i), 16);
        struct rtmsg route = {.rtm_family = AF_INET, .rtm_table = RT_TABLE_MAIN, .rtm_protocol = RTPROT_BOOT,
                              .rtm_scope = RT_SCOPE_UNIVERSE, .rtm_type = RTN_UNICAST};
        m = message(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, &route, sizeof route);
        put32(m, RTA_GATEWAY, gateway);
        put32(m, RTA_OIF, 2);
        done(sockets[i], m);
        if (n > MANY)
            neighbour(sockets[i], 2, gateway, bridge_mac);
        show(sockets[i], "eth0");
        flush(sockets[i]);
    }
    for (int i = 0; n > MANY && i < n; i++) {
        mac_of(mac, 2, i);
        neighbour(host, BRIDGE, ip_of(i), mac);
    }
    for (int i = 0; i < n; i++) {
        snprintf(name, sizeof name, "veth-c%d", i);
        show(host, name);
    }
    flush(host);
    double built = now();
    printf("%.6f", built - start);
    fflush(stdout);
    if (argc > 2) {
        printf("\n");
        fflush(stdout);
        if (!fgets(name, sizeof name, stdin))
            return 1;
        built = now();
    }

    header = (struct ifinfomsg){0};
    m = message(RTM_DELLINK, 0, &header, sizeof header);
    put32(m, IFLA_GROUP, GROUP);
    done(host, m);
    flush(host);
    for (int i = 0; i < n; i++) {
        snprintf(name, sizeof name, "/run/netns/c%d", i);
        unlink(name);
    }
    for (int i = 0; i < n; i++) {
        close(namespaces[i]);
        close(sockets[i]);
    }
    printf(" %.6f\n", now() - built);
    return 0;
}
