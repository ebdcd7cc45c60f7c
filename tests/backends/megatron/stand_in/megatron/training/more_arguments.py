"""Options of another module."""


def add_more_arguments(parser):
    group = parser.add_argument_group(title="more")
    group.add_argument("--only-here", type=float, default=0.5, help="A number of this checkout.")
    group.add_argument("--freeze", action="append", default=None)
    group.add_argument("--rope-scaling-factor", type=float, default=8.0)
    return parser
