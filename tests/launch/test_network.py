"""The network of machines that are not here, from recorded files."""

from __future__ import annotations

import pytest

from primus.errors import MissingError, UsageError
from primus.launch.devices import Accelerators, find_accelerators
from primus.launch.network import check_choices, find_network

GPUS = Accelerators(kind="nvidia", count=8, evidence="given")


def network(root, address=None, accelerators=None):
    found = accelerators or find_accelerators({}, root)
    return find_network(address=address, accelerators=found, root=root)


def devices(found):
    return [port.partition(":")[0] for port in found.ports]


def write(root, path, text):
    for file in root.glob(f"sys/class/infiniband/{path}"):
        file.write_text(f"{text}\n")


def test_eight_roce_ports_beside_eight_gpus(tree):
    found = network(tree("mlx5_roce"))
    assert found.ports == tuple(f"mlx5_{n}:1" for n in (0, 2, 3, 4, 5, 7, 8, 9))
    assert (found.interface, found.link, found.gid_index, found.warnings) == ("eth0", "roce", 3, ())


def test_what_is_left_out_is_said_with_the_reason(tree):
    why = network(tree("mlx5_roce")).fabric
    assert why == "8 active ports, RoCE at 400 Gb/s; left out: mlx5_6:1 (DOWN), mlx5_1:1 (only RoCE at 100 Gb/s)"


def test_a_port_of_the_fabric_that_is_down_is_left_out(tree):
    root = tree("mlx5_roce")
    write(root, "mlx5_4/ports/1/state", "1: DOWN")
    found = network(root)
    assert "mlx5_4" not in devices(found)
    assert "mlx5_4:1, mlx5_6:1 (DOWN)" in found.fabric


def test_slower_infiniband_ports_are_for_storage(tree):
    found = network(tree("infiniband_storage"))
    assert devices(found) == [f"mlx5_{n}" for n in (0, 3, 4, 5, 6, 9, 10, 11)]
    assert (found.link, found.gid_index, found.warnings) == ("infiniband", None, ())


def test_storage_ports_as_fast_as_the_others_are_known_by_their_place(tree):
    root = tree("infiniband_storage")
    write(root, "*/ports/1/rate", "400 Gb/sec (4X NDR)")
    found = network(root)
    assert len(found.ports) == 8
    assert "mlx5_1:1, mlx5_7:1 (not beside a GPU on the PCI bus)" in found.fabric


def test_ports_that_nothing_tells_apart_are_all_kept_with_a_warning(tree):
    root = tree("infiniband_storage")
    write(root, "*/ports/1/rate", "400 Gb/sec (4X NDR)")
    found = network(root, accelerators=GPUS)  # no PCI addresses, as in a virtual machine
    assert len(found.ports) == 10
    assert "can't tell which RDMA ports are the training fabric's" in found.warnings[0]


def test_two_kinds_of_port_with_the_same_bandwidth_are_kept_with_a_warning(tree):
    root = tree("vlan")
    write(root, "rocep97s0/ports/1/link_layer", "InfiniBand")
    assert "Set NCCL_IB_HCA to choose" in network(root, accelerators=GPUS).warnings[0]


def test_broadcom_ports_take_the_address_over_ipv4(tree):
    found = network(tree("bnxt_re"))
    assert devices(found) == [f"bnxt_re{n}" for n in range(8)]
    assert (found.gid_index, found.interface) == (5, "eno8303")


def test_a_fabric_that_has_only_ipv6_on_one_port_uses_ipv6_on_all(tree):
    root = tree("bnxt_re")
    write(root, "bnxt_re3/ports/1/gids/[45]", "0000:0000:0000:0000:0000:0000:0000:0000")
    assert network(root).gid_index == 3


def test_pensando_ports_have_their_address_at_index_1(tree):
    found = network(tree("ionic"))
    assert devices(found) == [f"ionic_{n}" for n in range(8)]
    assert (found.gid_index, found.interface) == (1, "enp193s0f0np0")


def test_a_bond_is_one_interface_and_one_rdma_device(tree):
    found = network(tree("bonded"), accelerators=GPUS)
    assert (found.interface, found.ports, found.gid_index) == ("bond0", ("mlx5_bond_0:1",), 3)
    assert found.route == "the default route, a bond of ens1f0 and ens1f1"


def test_indices_that_differ_between_the_ports_are_left_to_nccl(tree):
    found = network(tree("vlan"), accelerators=GPUS)
    assert found.gid_index is None
    assert "3 on rocep16s0:1, 5 on rocep97s0:1" in found.gid


def test_a_vlan_is_named_with_what_it_is_on(tree):
    found = network(tree("vlan"), accelerators=GPUS)
    assert (found.interface, found.route) == ("bond0.100", "the default route, a VLAN on bond0")


def test_a_port_without_an_ip_address_is_left_out_with_a_warning(tree):
    root = tree("ionic")
    write(root, "ionic_2/ports/1/gids/1", "0000:0000:0000:0000:0000:0000:0000:0000")
    found = network(root)
    assert "ionic_2" not in devices(found)
    assert "ionic_2:1: active, but without an IP address for RoCE v2" in found.warnings[0]


def test_a_fabric_without_any_ip_address_keeps_its_ports(tree):
    root = tree("ionic")
    write(root, "*/ports/1/gids/1", "0000:0000:0000:0000:0000:0000:0000:0000")
    found = network(root)
    assert (len(found.ports), found.gid_index) == (8, None)
    assert found.gid == "no port has a RoCE v2 address other than a link-local one"


def test_a_device_that_is_only_software_is_left_out(tree):
    root = tree("bonded")
    (root / "sys/class/infiniband/mlx5_bond_0/device").unlink()
    found = network(root, accelerators=GPUS)
    assert found.ports == ()
    assert "mlx5_bond_0:1 (made by software)" in found.fabric


def test_a_device_that_speaks_another_protocol_is_no_port(tree):
    root = tree("bonded")
    write(root, "mlx5_bond_0/node_type", "4: RNIC")
    assert network(root, accelerators=GPUS).fabric == "no active RDMA port"


def test_without_rdma_there_is_the_interface_only(tree):
    found = network(tree("no_rdma"), accelerators=GPUS)
    assert (found.interface, found.link, found.ports) == ("eth0", None, ())


def test_a_cpu_does_not_look_at_rdma(tree):
    found = network(tree("vlan"))
    assert (found.interface, found.ports, found.warnings) == ("bond0.100", (), ())


@pytest.mark.parametrize(
    ("address", "interface"),
    [
        ("198.51.100.7", "eth1"),
        ("192.0.2.7", "eth0"),
        ("8.8.8.8", "eth0"),
        ("2001:db8::7", "eth1"),
        ("2606:4700::1", "eth0"),
        ("203.0.113.5", "eth0"),
        ("127.0.0.2", "lo"),
    ],
)
def test_the_interface_is_the_one_that_leads_to_node_0(tree, address, interface):
    assert network(tree("no_rdma"), address).interface == interface


def test_a_default_route_through_a_vpn_that_is_down_is_not_taken(tree):
    assert network(tree("no_rdma")).interface == "eth0"


@pytest.mark.parametrize("inner", ["docker0", "virbr0", "veth8d1f0aa", "br-3f2a9c41d07e"])
def test_a_default_route_that_stays_inside_the_machine_is_not_taken(tree, inner):
    root = tree("no_rdma")
    (root / "sys/class/net" / inner / "operstate").write_text("up\n")
    with (root / "proc/net/route").open("a") as routes:
        routes.write(f"{inner} 00000000 00000000 0001 0 0 10 00000000 0 0 0\n")
    assert network(root).interface == "eth0"


@pytest.mark.parametrize(("address", "bridge"), [("172.17.0.1", "docker0"), ("172.18.0.2", "br-3f2a9c41d07e")])
def test_an_address_behind_a_container_bridge_is_refused(tree, address, bridge):
    with pytest.raises(UsageError, match=f"reached through {bridge}, which connects containers"):
        network(tree("no_rdma"), address)


def test_a_name_is_not_looked_up(tree):
    assert network(tree("bonded"), "node-a").route.endswith("; node-a is looked up when training starts")


def test_a_machine_without_routes_has_no_interface(tmp_path):
    found = network(tmp_path, "10.0.0.1")
    assert (found.interface, found.route) == (None, "no route leads out of this machine")


@pytest.mark.parametrize(
    "choice",
    [
        {"NCCL_SOCKET_IFNAME": "eth"},
        {"NCCL_SOCKET_IFNAME": "^docker,eth9"},
        {"NCCL_SOCKET_IFNAME": ""},
        {"GLOO_SOCKET_IFNAME": "eth0"},
        {"NCCL_IB_HCA": "=mlx5_2:1,mlx5_99"},
        {"NCCL_IB_HCA": "mlx5"},
    ],
)
def test_a_choice_of_the_user_that_fits_is_taken(tree, choice):
    check_choices(choice, GPUS, tree("mlx5_roce"))


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("GLOO_SOCKET_IFNAME", "eth", r"no such network interface; it has docker0, eth0"),
        ("NCCL_SOCKET_IFNAME", "=eth", r"no such network interface"),
        ("NCCL_SOCKET_IFNAME", "ib", r"no such network interface"),
        ("NCCL_IB_HCA", "=mlx5_10:1", r"no such RDMA device; it has mlx5_0, mlx5_1"),
        ("NCCL_IB_HCA", "bnxt_re", r"no such RDMA device"),
    ],
)
def test_a_choice_of_the_user_that_fits_nothing_is_refused(tree, variable, value, said):
    with pytest.raises(MissingError, match=rf"{variable}={value}: .*{said}"):
        check_choices({variable: value}, GPUS, tree("mlx5_roce"))


def test_a_choice_where_there_is_nothing_to_choose_says_so(tree):
    with pytest.raises(MissingError, match="NCCL_IB_HCA=mlx5_0: this machine has no such RDMA device; it has none"):
        check_choices({"NCCL_IB_HCA": "mlx5_0"}, GPUS, tree("no_rdma"))


def test_a_cpu_asks_only_for_gloos_interface(tree):
    root = tree("no_rdma")
    cpu = find_accelerators({}, root)
    check_choices({"NCCL_IB_HCA": "mlx5_0", "NCCL_SOCKET_IFNAME": "ib0"}, cpu, root)
    with pytest.raises(MissingError, match="GLOO_SOCKET_IFNAME=ib0"):
        check_choices({"GLOO_SOCKET_IFNAME": "ib0"}, cpu, root)
