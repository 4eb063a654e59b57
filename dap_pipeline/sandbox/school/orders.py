"""What is bought in the catalogue shop: carts, orders, payments and the enrolments they bring."""

from __future__ import annotations

from .expressions import between, hexadecimal, later, maybe, moment, one_of, roll
from .recipe import Recipe
from .shop import chosen, fee_of
from .world import World


def recipes(world: World) -> list[Recipe]:
    """The tables about buying, parents first."""
    return [
        _orders(world),
        _order_items(world),
        _payments(world),
        _carts(),
        _cart_items(world),
        *_promotions(),
        _enrollments(world),
        *_bulk(world),
    ]


def _orders(world: World) -> Recipe:
    items = [chosen(world, f"id * 2 + {n}") for n in range(2)]
    return Recipe(
        "catalog.orders",
        f"""
        SELECT *, {fee_of(items[0])} + CASE WHEN id % 3 = 0 THEN {fee_of(items[1])} ELSE 0 END
            AS total
        FROM (
            SELECT u.id * 2 + n AS id, 1 + u.id % 3 AS account_id, u.id AS user_id,
                u.canvas_user_id, u.email_address AS email, u.user_name AS name,
                u.created_at AS born
            FROM catalog.users u CROSS JOIN range(2) t(n) WHERE u.id % 5 < 3 - n
        )
        """,
        {
            "created_at": moment("made", "born", world.now_sql),
            "purchased_at": "created_at",
            "updated_at": "created_at",
            "currency": "'EUR'",
            "full_id": "concat('ORD', lpad(CAST(id AS VARCHAR), 8, '0'))",
            "source": one_of("source", ("web", "api", "bulk")),
        },
    )


def _order_items(world: World) -> Recipe:
    return Recipe(
        "catalog.order_items",
        f"""
        SELECT o.id * 2 + n AS id, o.id AS order_id, {chosen(world, "o.id * 2 + n")} AS item_id,
            o.created_at
        FROM catalog.orders o CROSS JOIN range(2) t(n) WHERE n = 0 OR o.id % 3 = 0
        """,
        {
            "unit_price": fee_of("item_id"),
            "quantity": "1",
            "amount": "unit_price",
            "discounted_amount": "unit_price",
            "deleted_at": "NULL",
        },
    )


def _payments(world: World) -> Recipe:
    return Recipe(
        "catalog.payments",
        """
        SELECT o.id, o.id AS order_id, o.total AS amount, o.created_at FROM catalog.orders o
            WHERE o.total > 0
        """,
        {
            "status": one_of("status", ("paid", "paid", "paid", "refunded", "pending")),
            "reference_id": hexadecimal("reference"),
            "updated_at": f"least({later('created_at', roll('paid', 600))}, {world.now_sql})",
        },
    )


def _carts() -> Recipe:
    """Every order came from a cart; some carts were left standing."""
    return Recipe(
        "catalog.carts",
        """
        SELECT o.id, o.account_id, 1 AS root_account_id, o.canvas_user_id, o.id AS order_id,
            o.created_at, o.created_at AS checkout_time
        FROM catalog.orders o
        UNION ALL
        SELECT 500000000 + u.id, 1, 1, u.canvas_user_id, NULL, u.created_at, NULL
        FROM catalog.users u WHERE u.id % 7 = 0
        """,
        {"deleted_at": "NULL"},
    )


def _cart_items(world: World) -> Recipe:
    return Recipe(
        "catalog.cart_items",
        f"""
        SELECT i.id, i.order_id AS cart_id, i.item_id AS product_id, i.created_at
            FROM catalog.order_items i
        UNION ALL
        SELECT 1000000000 + c.id, c.id, {chosen(world, "c.id")}, c.created_at
        FROM catalog.carts c WHERE c.order_id IS NULL
        """,
    )


def _promotions() -> list[Recipe]:
    tables = (("order_item", "item_id"), ("cart_item", "product_id"))
    return [
        Recipe(
            f"catalog.{owner}_promotions",
            f"""
            SELECT i.id, i.id AS {owner}_id, 1 + i.{product} % 8 AS promotion_id, i.created_at
            FROM catalog.{owner}s i WHERE i.id % 4 = 0 AND i.meta_action = 'U'
            """,
            {"discount": "5.0 * promotion_id"},
        )
        for owner, product in tables
    ]


def _enrollments(world: World) -> Recipe:
    return Recipe(
        "catalog.enrollments",
        """
        SELECT i.id, i.id AS order_item_id, i.item_id AS product_id, o.canvas_user_id,
            i.created_at, e.id AS external_id
        FROM catalog.order_items i JOIN catalog.orders o ON o.id = i.order_id
        LEFT JOIN canvas.enrollments e ON e.user_id = o.canvas_user_id AND e.course_id = i.item_id
        """,
        {
            "status": one_of("status", ("active", "active", "concluded", "dropped")),
            "requirements_completed_at": "CASE status WHEN 'concluded' THEN"
            f" {moment('done', 'created_at', world.now_sql)} END",
            "ends_at": maybe(
                "ends", 300, later("created_at", f"86400 * {between('days', 30, 300)}")
            ),
        },
    )


def _bulk(world: World) -> list[Recipe]:
    return [
        Recipe(
            "catalog.bulk_checkouts",
            f"""
            SELECT o.id, o.canvas_user_id, o.account_id, o.id AS order_id, o.created_at,
                {chosen(world, "o.id * 2")} AS product_id, o.created_at AS checkout_time
            FROM catalog.orders o WHERE o.id % 11 = 0
            """,
            {"seats": between("seats", 2, 40)},
        ),
        Recipe(
            "catalog.bulk_checkout_promotions",
            """
            SELECT b.id, b.id AS bulk_checkout_id, 1 + b.id % 8 AS promotion_id, b.created_at
            FROM catalog.bulk_checkouts b WHERE b.id % 2 = 0
            """,
            {"discount": "5.0 * promotion_id"},
        ),
    ]
